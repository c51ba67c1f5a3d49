//! `vapid generate`: a key pair for Web Push (RFC 8292), in the format of `npx web-push generate-vapid-keys`.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use p256::ecdsa::SigningKey;

/// Keys for Web Push.
#[derive(Subcommand)]
pub(super) enum Vapid {
    Generate(Generate),
}

/// Make a key pair and print it, in the format of `npx web-push generate-vapid-keys`.
///
/// The pair is stored nowhere. Browsers get the public key; whoever has the private one can send to all who subscribed with it.
#[derive(Args)]
pub(super) struct Generate {
    /// Print one object with `publicKey` and `privateKey`.
    #[arg(long)]
    json: bool,
}

/// Both halves in base64url without padding: the uncompressed point, 65 bytes, and the scalar, 32 bytes.
struct Pair {
    public: String,
    private: String,
}

impl Vapid {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self::Generate(Generate { json }) = self;
        let pair = generate()?;
        let mut out = std::io::stdout();
        if json {
            let pair = serde_json::json!({ "publicKey": pair.public, "privateKey": pair.private });
            writeln!(out, "{pair}")?;
        } else {
            let rule = "=======================================";
            let Pair { public, private } = pair;
            writeln!(out, "\n{rule}\n\nPublic Key:\n{public}\n\nPrivate Key:\n{private}\n\n{rule}\n")?;
        }
        Ok(())
    }
}

fn generate() -> anyhow::Result<Pair> {
    // A number that is no scalar of the curve is drawn about once in 2^32.
    let key = loop {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        if let Ok(key) = SigningKey::from_slice(&bytes) {
            break key;
        }
    };
    let public = key.verifying_key().to_encoded_point(false);
    Ok(Pair {
        public: BASE64_URL_SAFE_NO_PAD.encode(public.as_bytes()),
        private: BASE64_URL_SAFE_NO_PAD.encode(key.to_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::VerifyingKey;
    use p256::ecdsa::signature::{Signer as _, Verifier as _};

    use super::*;

    #[test]
    fn the_two_halves_belong_together_and_no_two_pairs_are_alike() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one.private, other.private);
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let (public, private) = (decode(&one.public), decode(&one.private));
        assert_eq!((public.len(), public[0], private.len()), (65, 4, 32));
        let signature: p256::ecdsa::Signature = SigningKey::from_slice(&private).unwrap().sign(b"hello");
        VerifyingKey::from_sec1_bytes(&public).unwrap().verify(b"hello", &signature).unwrap();
    }
}
