//! A TCP or TLS stream that a reader and the core's turn share.
//!
//! The reader waits with its task's waker; the turn only tries. Both are on one thread, so a `RefCell` is enough: no borrow
//! lives across an await.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use rustix::net::{SendAncillaryBuffer, SendFlags};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A client's stream.
pub(crate) enum Stream {
    /// As it comes from the network.
    Tcp(RefCell<TcpStream>),
    /// With TLS ended here.
    Tls(RefCell<Box<TlsStream<TcpStream>>>),
}

impl Stream {
    /// Waits for bytes and reads them into `buffer`; 0 means that the client has finished. `buffer` is called for at each try.
    pub(crate) async fn read_into(&self, buffer: &RefCell<Box<[u8]>>) -> io::Result<usize> {
        poll_fn(|context| {
            let mut scratch = buffer.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(match self {
                Self::Tcp(tcp) => Pin::new(&mut *tcp.borrow_mut()).poll_read(context, &mut buffer),
                Self::Tls(tls) => Pin::new(&mut *tls.borrow_mut()).poll_read(context, &mut buffer),
            })?;
            Poll::Ready(Ok(buffer.filled().len()))
        })
        .await
    }

    /// Writes what the kernel takes now; `WouldBlock` when that is nothing.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => {
                let tcp = tcp.borrow();
                // Straight to the socket: nearly every write succeeds, and then the runtime need not be asked. Not by way of the C
                // library either, which would make this thread ready to be cancelled, and unready again, around each write.
                let written = match slices {
                    [one] => rustix::net::send(&*tcp, one, SendFlags::NOSIGNAL),
                    many => rustix::net::sendmsg(
                        &*tcp,
                        many,
                        &mut SendAncillaryBuffer::default(),
                        SendFlags::NOSIGNAL,
                    ),
                };
                let written = written.map_err(io::Error::from);
                if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    // Now it must know, so that waiting for room waits.
                    let full = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                    let _ = tcp.try_io(Interest::WRITABLE, full);
                }
                written
            }
            Self::Tls(tls) => {
                let context = &mut Context::from_waker(Waker::noop());
                or_would_block(Pin::new(&mut *tls.borrow_mut()).poll_write_vectored(context, slices))
            }
        }
    }

    /// Hands over what TLS has encrypted and still holds.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Tls(tls) => {
                let context = &mut Context::from_waker(Waker::noop());
                or_would_block(Pin::new(&mut *tls.borrow_mut()).poll_flush(context))
            }
        }
    }

    /// Waits until a write may succeed, or the stream is broken, which the write then says.
    pub(crate) async fn writable(&self) {
        let _ = poll_fn(|context| match self {
            Self::Tcp(tcp) => tcp.borrow().poll_write_ready(context),
            Self::Tls(tls) => tls.borrow().get_ref().0.poll_write_ready(context),
        })
        .await;
    }

    /// Ends both directions at once; whoever reads sees the end.
    pub(crate) fn shutdown(&self) {
        self.end(std::net::Shutdown::Both);
    }

    /// Ends our direction; the client may finish what it was saying, to nobody.
    pub(crate) fn finish(&self) {
        if let Self::Tls(tls) = self {
            let context = &mut Context::from_waker(Waker::noop());
            let _ = Pin::new(&mut *tls.borrow_mut()).poll_shutdown(context);
        }
        self.end(std::net::Shutdown::Write);
    }

    fn end(&self, how: std::net::Shutdown) {
        // It may be gone already; then there is nothing to end.
        let _ = match self {
            Self::Tcp(tcp) => SockRef::from(&*tcp.borrow()).shutdown(how),
            Self::Tls(tls) => SockRef::from(tls.borrow().get_ref().0).shutdown(how),
        };
    }
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
