//! Which address has signed a text: EIP-191, version 0x45 (`personal_sign`).

use std::fmt;

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use sha3::{Digest as _, Keccak256};

use crate::auth::secret;

/// A wallet's address. Two are equal whatever the case they were written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address([u8; 20]);

impl Address {
    /// Reads `0x` and 40 hexadecimal digits. A checksum in their case (EIP-55) is welcome and not looked at.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = secret::unhex(text.strip_prefix("0x")?)?;
        bytes.try_into().ok().map(Self)
    }

    /// Written with the checksum of EIP-55, which wallets expect in what they sign.
    pub(super) fn checksummed(self) -> String {
        let digits = secret::hex(&self.0);
        let hash = Keccak256::digest(digits.as_bytes());
        let nibble =
            |place: usize| if place.is_multiple_of(2) { hash[place / 2] >> 4 } else { hash[place / 2] & 15 };
        let cased = digits.chars().enumerate();
        let cased =
            cased.map(|(place, digit)| if nibble(place) >= 8 { digit.to_ascii_uppercase() } else { digit });
        format!("0x{}", cased.collect::<String>())
    }
}

/// In lower case.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", secret::hex(&self.0))
    }
}

/// The address whose key made `signature`, 65 bytes in hexadecimal digits with or without `0x`, for `message`. `None` when it
/// is none.
pub(super) fn signer(message: &str, signature: &str) -> Option<Address> {
    let bytes = secret::unhex(signature.strip_prefix("0x").unwrap_or(signature))?;
    let (signature, [v]) = bytes.split_at_checked(64).filter(|(_, rest)| rest.len() == 1)? else {
        return None;
    };
    // 27 and 28 for historic reasons; some wallets write 0 and 1.
    let recovery = RecoveryId::from_byte(match v {
        0 | 1 => *v,
        27 | 28 => v - 27,
        _ => return None,
    })?;
    let signature = Signature::from_slice(signature).ok()?;
    let hash = Keccak256::new()
        .chain_update("\x19Ethereum Signed Message:\n")
        .chain_update(message.len().to_string())
        .chain_update(message)
        .finalize();
    let key = VerifyingKey::recover_from_prehash(&hash, &signature, recovery).ok()?;
    let point = key.to_encoded_point(false);
    let hash = Keccak256::digest(&point.as_bytes()[1..]);
    hash[12..].try_into().ok().map(Address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Address, text, signature: made with eth-account 0.13.7.
    const KNOWN: [(&str, &str, &str); 3] = [
        (
            "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F",
            "hello",
            "f63c93dc642a4839770b35abf9cb304ac2f1b5463d9a9abd87546feaa0af992e659cf087c433e45c45f6135cb819ab1922c6359dbb1b8c8d7a54141de2cd4beb1b",
        ),
        (
            "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1",
            "Grüße, Ада\nzwei Zeilen",
            "63b91a48c28dfb2c9f2836ee33e6b041be3ec21ec7d5f7355c12814561640bed3f08c8ba1b200647ece1cd9dee93fc1933818b9577bb4f83c78d53f9a2d1d2541b",
        ),
        (
            "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23",
            "Some data",
            "b91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a0291c",
        ),
    ];

    #[test]
    fn t4_the_signer_is_who_independent_software_says() {
        for (address, text, signature) in KNOWN {
            let expected = Address::parse(address).unwrap();
            assert_eq!(signer(text, signature), Some(expected));
            assert_eq!(signer(text, &format!("0x{}", signature.to_uppercase())), Some(expected));
            assert_eq!(expected.checksummed(), address);
            assert_eq!(expected.to_string(), address.to_lowercase());
            assert_eq!(Address::parse(&expected.to_string()), Some(expected));
            assert_ne!(signer(&format!("{text} "), signature), Some(expected));
        }
    }

    #[test]
    fn t4_what_is_not_a_signature_has_no_signer() {
        let (_, text, good) = KNOWN[0];
        let body = &good[..128];
        for wrong in [
            String::new(),
            "0x".into(),
            good[..128].into(),
            format!("{good}00"),
            format!("{body}02"),
            format!("{body}1d"),
            format!("{body}ff"),
            format!("{}1b", "0".repeat(128)),
            format!("{}1b", "f".repeat(128)),
            good.replace('f', "g"),
            "é".repeat(65),
        ] {
            assert_eq!(signer(text, &wrong), None, "{wrong}");
        }
        for wrong in ["", "0x", "9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F", "0x9d8A", "0xé"] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }
}
