//! Where clients knock: address, path, and perhaps TLS.

use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::soon;

/// A stream of bytes to the server and back.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Io for T {}

/// A mount as a client sees it.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    /// Without a slash at its end.
    pub(crate) path: String,
    pub(crate) tls: Option<TlsConnector>,
    /// Bytes that the client's kernel may hold for it; `None` leaves that to the kernel.
    pub(crate) receive_buffer: Option<u32>,
}

impl Door {
    /// The same server, another path.
    pub(crate) fn at(&self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self.clone() }
    }

    /// For a client whose kernel holds next to nothing for it.
    pub(crate) fn narrow(&self) -> Self {
        Self { receive_buffer: Some(4_096), ..self.clone() }
    }

    /// A request target: the path with a slash, and `query`.
    pub(crate) fn target(&self, query: &str) -> String {
        format!("{}/?{query}", self.path)
    }

    /// A new stream, with TLS if this door has it.
    pub(crate) async fn stream(&self) -> Box<dyn Io> {
        let stream = soon("a connection", self.tcp()).await.expect("the server listens");
        let Some(tls) = &self.tls else { return Box::new(stream) };
        let name = ServerName::from(self.address.ip());
        Box::new(
            soon("a TLS handshake", tls.connect(name, stream))
                .await
                .expect("the certificate is the server's"),
        )
    }

    /// A new TCP connection, or why there is none.
    pub(crate) async fn tcp(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
