//! What a payment on a chain must be like, and whether one is: pure decisions over what a node said.
//!
//! Amounts are whole numbers of the chain's smallest unit (wei: 10¹⁸ are one coin) in 128 bits; a chain has 256, but no amount
//! of tokens costs that much, so whatever does not fit is another payment. Nothing is rounded.

use antiphon_core::ports::Verdict;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// Smallest units in one coin.
const WEI: u128 = 1_000_000_000_000_000_000;

/// Decimals of a coin.
const DECIMALS: usize = 18;

/// What a payment must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// Where it must have gone, in lower case.
    pub(super) treasury: String,
    /// How many blocks must hold it, its own included.
    pub(super) confirmations: u64,
    /// By how many of the smallest unit it may differ.
    pub(super) tolerance: u128,
    /// How many tokens a coin is worth.
    pub(super) tokens_per_coin: u64,
}

/// A transaction, as `eth_getTransactionByHash` tells it; what else is told of it does not matter here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transaction {
    pub(super) hash: String,
    pub(super) from: String,
    /// `null` where it makes a contract.
    pub(super) to: Option<String>,
    pub(super) value: Quantity,
    /// `null` as long as it is in no block.
    pub(super) block_hash: Option<String>,
}

/// What became of a transaction, as `eth_getTransactionReceipt` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    pub(super) transaction_hash: String,
    pub(super) status: Quantity,
    pub(super) block_hash: String,
    pub(super) block_number: Quantity,
}

/// A number as JSON-RPC writes it: `0x` and 1 to 64 hexadecimal digits. `None` is one that has more than 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity(pub(super) Option<u128>);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What was sent instead is not repeated: it is somebody else's text.
        quantity(&text).ok_or_else(|| D::Error::custom("a quantity is 0x and 1 to 64 hexadecimal digits"))
    }
}

/// Whether this is the one way in which a payment may be named: `0x` and 64 hexadecimal digits in lower case.
pub(super) fn is_hash(text: &str) -> bool {
    text.strip_prefix("0x").is_some_and(|digits| {
        digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Whether this is an address, in any case.
pub(super) fn is_address(text: &str) -> bool {
    text.strip_prefix("0x")
        .is_some_and(|digits| digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// A decimal number of coins in the smallest unit; `None` if it is none, or has more decimals than there are.
pub(super) fn wei(coins: &str) -> Option<u128> {
    let (whole, fraction) = coins.split_once('.').unwrap_or((coins, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > DECIMALS {
        return None;
    }
    let whole = whole.parse::<u128>().ok()?.checked_mul(WEI)?;
    let fraction = format!("{fraction:0<DECIMALS$}").parse::<u128>().ok()?;
    whole.checked_add(fraction)
}

impl Terms {
    /// Whether no payment for a number of tokens could pass for another number.
    pub(super) fn tells_tokens_apart(&self) -> bool {
        let tokens = u128::from(self.tokens_per_coin);
        self.tolerance.checked_mul(tokens).and_then(|part| part.checked_mul(2)).is_some_and(|both| both < WEI)
    }

    /// Whether `value` is what so many tokens cost, within the tolerance.
    fn is_price(&self, value: Quantity, tokens: u64) -> bool {
        // Both sides are multiplied by what a coin is worth, so that nothing has to be divided.
        let per_coin = u128::from(self.tokens_per_coin);
        let paid = value.0.and_then(|value| value.checked_mul(per_coin));
        let asked = u128::from(tokens).checked_mul(WEI);
        let leeway = self.tolerance.checked_mul(per_coin);
        match (paid, asked, leeway) {
            (Some(paid), Some(asked), Some(leeway)) => paid.abs_diff(asked) <= leeway,
            // More than any number of tokens costs.
            _ => false,
        }
    }

    /// Whether the transaction can be the payment for so many tokens from one of these wallets: `None` if it can, and what it
    /// comes to if that is already certain.
    pub(super) fn first_look(
        &self,
        transaction: &Transaction,
        tokens: u64,
        wallets: &[String],
    ) -> Option<Verdict> {
        let is_ours = transaction.to.as_deref().is_some_and(|to| to.eq_ignore_ascii_case(&self.treasury));
        let is_theirs = wallets.iter().any(|wallet| wallet.eq_ignore_ascii_case(&transaction.from));
        if !is_ours || !is_theirs || !self.is_price(transaction.value, tokens) {
            return Some(Verdict::Wrong);
        }
        transaction.block_hash.is_none().then_some(Verdict::Pending)
    }

    /// What a transaction that may be the payment comes to. `head` is the newest block that there was before `receipt` was asked
    /// for: so a receipt that has moved to another block is not counted from the old one.
    pub(super) fn judge(&self, receipt: &Receipt, head: Quantity) -> Verdict {
        match receipt.status.0 {
            Some(1) => {}
            _ => return Verdict::Wrong,
        }
        let held = match (head.0, receipt.block_number.0) {
            // A head that is older than the payment's block comes from a node that has not caught up.
            (Some(head), Some(block)) => head.checked_sub(block).map_or(0, |above| above.saturating_add(1)),
            _ => 0,
        };
        if held >= u128::from(self.confirmations) { Verdict::Confirmed } else { Verdict::Pending }
    }
}

fn quantity(text: &str) -> Option<Quantity> {
    let digits = text.strip_prefix("0x")?;
    if !(1..=64).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(Quantity(Some(0)));
    }
    // Only digits are left, so what cannot be read is too large.
    Some(Quantity(u128::from_str_radix(digits, 16).ok()))
}

#[cfg(test)]
mod tests {
    use antiphon_core::wallet::MAX_BALANCE;
    use proptest::prelude::*;

    use super::*;

    fn terms() -> Terms {
        Terms {
            treasury: format!("0x{:040x}", 0xa1),
            confirmations: 3,
            tolerance: wei("0.0001").unwrap(),
            tokens_per_coin: 100,
        }
    }

    fn transaction() -> Transaction {
        Transaction {
            hash: format!("0x{:064x}", 7),
            from: format!("0x{:040x}", 0xada),
            to: Some(format!("0x{:040X}", 0xa1)),
            value: Quantity(wei("0.5")),
            block_hash: Some("0xb".into()),
        }
    }

    fn first_look(change: impl FnOnce(&mut Transaction)) -> Option<Verdict> {
        let mut transaction = transaction();
        change(&mut transaction);
        terms().first_look(&transaction, 50, &[format!("0x{:040x}", 0xada)])
    }

    #[test]
    fn a_quantity_is_hexadecimal_and_what_is_too_large_is_known_as_that() {
        let table = [
            ("0x0", Some(Some(0))),
            ("0x1", Some(Some(1))),
            ("0x0000000000000000000000000000000000000000000000000000000000000001", Some(Some(1))),
            ("0xffffffffffffffffffffffffffffffff", Some(Some(u128::MAX))),
            ("0x100000000000000000000000000000000", Some(None)),
            ("0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", Some(None)),
            ("0x10000000000000000000000000000000000000000000000000000000000000000", None),
            ("0x", None),
            ("1", None),
            ("0x-1", None),
            ("0x+1", None),
            ("0xg", None),
            ("0X1", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(quantity(text).map(|quantity| quantity.0), expected, "{text}");
        }
    }

    #[test]
    fn coins_become_whole_units_without_rounding() {
        let table = [
            ("1", Some(WEI)),
            ("0.0001", Some(100_000_000_000_000)),
            ("0.000000000000000001", Some(1)),
            ("0", Some(0)),
            ("12.5", Some(12_500_000_000_000_000_000)),
            ("0.0000000000000000001", None),
            ("-1", None),
            ("1e3", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            (".5", None),
            ("999999999999999999999999", None),
        ];
        for (text, expected) in table {
            assert_eq!(wei(text), expected, "{text}");
        }
        // How the settings give the default.
        assert_eq!(wei(&0.0001_f64.to_string()), Some(100_000_000_000_000));
    }

    #[test]
    fn a_payment_is_from_them_to_us_and_what_it_costs() {
        assert_eq!(first_look(|_| {}), None);
        assert_eq!(first_look(|it| it.from = it.from.to_uppercase().replace("0X", "0x")), None);
        assert_eq!(first_look(|it| it.from = format!("0x{:040x}", 0xb0b)), Some(Verdict::Wrong));
        assert_eq!(first_look(|it| it.to = Some(format!("0x{:040x}", 0xb0b))), Some(Verdict::Wrong));
        assert_eq!(first_look(|it| it.to = None), Some(Verdict::Wrong), "it makes a contract");
        assert_eq!(first_look(|it| it.block_hash = None), Some(Verdict::Pending));
        for (paid, expected) in [
            ("0.4999", None),
            ("0.5001", None),
            ("0.499899999999999999", Some(Verdict::Wrong)),
            ("0.500100000000000001", Some(Verdict::Wrong)),
            ("0", Some(Verdict::Wrong)),
            ("50", Some(Verdict::Wrong)),
        ] {
            assert_eq!(first_look(|it| it.value = Quantity(wei(paid))), expected, "{paid}");
        }
        assert_eq!(first_look(|it| it.value = Quantity(None)), Some(Verdict::Wrong));
        assert_eq!(first_look(|it| it.value = Quantity(Some(u128::MAX))), Some(Verdict::Wrong));
    }

    #[test]
    fn a_payment_counts_when_it_succeeded_and_enough_blocks_hold_it() {
        let receipt = |status, block| Receipt {
            transaction_hash: String::new(),
            status: Quantity(Some(status)),
            block_hash: String::new(),
            block_number: Quantity(block),
        };
        let judge = |receipt: &Receipt, head| terms().judge(receipt, Quantity(head));
        assert_eq!(judge(&receipt(1, Some(10)), Some(12)), Verdict::Confirmed);
        assert_eq!(judge(&receipt(1, Some(10)), Some(u128::MAX)), Verdict::Confirmed);
        assert_eq!(judge(&receipt(1, Some(0)), Some(u128::MAX)), Verdict::Confirmed);
        assert_eq!(judge(&receipt(1, Some(10)), Some(11)), Verdict::Pending);
        assert_eq!(judge(&receipt(1, Some(10)), Some(9)), Verdict::Pending, "the node lags behind");
        assert_eq!(judge(&receipt(1, Some(10)), None), Verdict::Pending);
        assert_eq!(judge(&receipt(1, None), Some(10)), Verdict::Pending);
        for status in [0, 2] {
            assert_eq!(judge(&receipt(status, Some(10)), Some(99)), Verdict::Wrong);
        }
    }

    #[test]
    fn a_hash_has_one_spelling() {
        let hash = format!("0x{}", "0a".repeat(32));
        assert!(is_hash(&hash));
        for text in [
            hash.to_uppercase(),
            hash.replace('a', "A"),
            hash[2..].to_owned(),
            format!("{hash}0"),
            hash[..65].to_owned(),
            format!("0x{}", "g".repeat(64)),
            format!(" {hash}"),
            String::new(),
            "invoice-7".into(),
        ] {
            assert!(!is_hash(&text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_payment_passes_for_two_numbers_of_tokens(
            value in any::<u128>(), tokens in 1..MAX_BALANCE, other in 1..MAX_BALANCE,
            per_coin in 1..1_000_000_000_u64, tolerance in 0..u128::from(u64::MAX),
        ) {
            let terms = Terms { tolerance, tokens_per_coin: per_coin, ..terms() };
            if terms.tells_tokens_apart() && tokens != other {
                let price = u128::from(tokens) * WEI / u128::from(per_coin);
                for value in [value, price, price + 1, price.saturating_sub(tolerance), price + tolerance] {
                    let value = Quantity(Some(value));
                    prop_assert!(!(terms.is_price(value, tokens) && terms.is_price(value, other)));
                }
            }
        }

        #[test]
        fn what_a_number_of_tokens_costs_is_found_again(tokens in 1..MAX_BALANCE, per_coin in 1..1_000_000_000_u64) {
            let terms = Terms { tokens_per_coin: per_coin, tolerance: 1, ..terms() };
            let price = u128::from(tokens) * WEI / u128::from(per_coin);
            prop_assert!(terms.is_price(Quantity(Some(price)), tokens));
        }
    }
}
