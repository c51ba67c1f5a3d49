//! Wallets that sign (EIP-191, `personal_sign`).

use k256::ecdsa::SigningKey;
use sha3::{Digest as _, Keccak256};

/// The address of the wallet whose key is this byte, 32 times.
pub(super) fn signer(key: u8) -> String {
    let point = signing_key(key).verifying_key().to_encoded_point(false);
    let hash = Keccak256::digest(&point.as_bytes()[1..]);
    format!("0x{}", hex(&hash[12..]))
}

/// What that wallet makes of a message.
pub(super) fn sign(key: u8, message: &str) -> String {
    let text = format!("\x19Ethereum Signed Message:\n{}{message}", message.len());
    let (signature, recovery) =
        signing_key(key).sign_prehash_recoverable(&Keccak256::digest(text)).expect("a hash can be signed");
    format!("0x{}{}", hex(&signature.to_bytes()), hex(&[27 + recovery.to_byte()]))
}

fn signing_key(key: u8) -> SigningKey {
    SigningKey::from_slice(&[key; 32]).expect("a key")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
