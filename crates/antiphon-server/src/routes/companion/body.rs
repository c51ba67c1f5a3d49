//! What a request brings: a JSON object, query parameters, and amounts, each refused in a sentence when it is wrong.

use antiphon_core::wallet::MAX_BALANCE;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

use super::State;
use super::boom::Boom;

/// How far a number of coins may be from a whole number of tokens, in tokens: what binary fractions lose.
const ROUNDING: f64 = 1e-6;

/// A body that is not looked into yet. It is whole, and not too large.
pub(super) struct Text(Bytes);

impl FromRequest<State> for Text {
    type Rejection = Boom;

    async fn from_request(request: Request, state: &State) -> Result<Self, Boom> {
        let read = Bytes::from_request(request, state).await;
        read.map(Self).map_err(|_| Boom::bad_request("Invalid request payload input"))
    }
}

impl Text {
    /// The object `T`. Anything else is refused in the words of `needed`, one sentence that says what the route needs; what the
    /// client sent is not repeated to it.
    pub(super) fn object<T: DeserializeOwned>(&self, needed: &'static str) -> Result<T, Boom> {
        // Derived structs would also read the members from a list.
        if self.0.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(Boom::bad_request(needed));
        }
        serde_json::from_slice(&self.0).map_err(|error| match error.is_data() {
            true => Boom::bad_request(needed),
            false => Boom::bad_request("Invalid request payload JSON format"),
        })
    }
}

/// Query parameters as a `T`.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<State> for Asked<T> {
    type Rejection = Boom;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Boom> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(_) => Err(Boom::bad_request("Invalid request query input")),
        }
    }
}

/// An amount above zero: a number, or a number written as text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    /// A whole number.
    Whole(u64),
    /// One with a fraction.
    Fraction(f64),
}

impl Amount {
    /// As tokens, of which there are only whole ones.
    pub(super) fn tokens(self) -> Option<u64> {
        match self {
            Self::Whole(tokens) => Some(tokens).filter(|tokens| *tokens <= MAX_BALANCE),
            Self::Fraction(_) => None,
        }
    }

    /// The tokens that so many coins are worth, if that is a whole number of them.
    pub(super) fn coins(self, tokens_per_coin: u64) -> Option<u64> {
        match self {
            Self::Whole(coins) => coins.checked_mul(tokens_per_coin).filter(|tokens| *tokens <= MAX_BALANCE),
            Self::Fraction(coins) => {
                let tokens = coins * tokens_per_coin as f64;
                let whole = tokens.round();
                let is_whole = (tokens - whole).abs() < ROUNDING && whole >= 1.0;
                (is_whole && whole <= MAX_BALANCE as f64).then_some(whole as u64)
            }
        }
    }

    fn of(number: &Number) -> Option<Self> {
        if let Some(whole) = number.as_u64() {
            return (whole > 0).then_some(Self::Whole(whole));
        }
        let value = number.as_f64().filter(|value| value.is_finite() && *value > 0.0)?;
        // `10.0` is ten.
        let is_whole = value.fract() == 0.0 && value <= MAX_BALANCE as f64;
        Some(if is_whole { Self::Whole(value as u64) } else { Self::Fraction(value) })
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = match Value::deserialize(deserializer)? {
            Value::Number(number) => Self::of(&number),
            Value::String(text) => text.trim().parse().ok().as_ref().and_then(Self::of),
            _ => None,
        };
        amount.ok_or_else(|| serde::de::Error::custom("this is no amount"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(json: &str) -> Option<Amount> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn an_amount_is_a_number_above_zero_however_it_is_written() {
        for (json, expected) in [
            ("1", Amount::Whole(1)),
            ("10.0", Amount::Whole(10)),
            ("1e2", Amount::Whole(100)),
            ("0.5", Amount::Fraction(0.5)),
            ("\"7\"", Amount::Whole(7)),
            ("\" 0.25 \"", Amount::Fraction(0.25)),
            ("18446744073709551615", Amount::Whole(u64::MAX)),
        ] {
            assert_eq!(amount(json), Some(expected), "{json}");
        }
        for json in
            ["0", "-1", "-0.5", "0.0", "\"\"", "\"NaN\"", "\"ten\"", "\"-1\"", "null", "true", "[1]", "{}"]
        {
            assert_eq!(amount(json), None, "{json}");
        }
    }

    #[test]
    fn tokens_are_whole_and_not_endless() {
        assert_eq!(Amount::Whole(MAX_BALANCE).tokens(), Some(MAX_BALANCE));
        assert_eq!(Amount::Whole(MAX_BALANCE + 1).tokens(), None);
        assert_eq!(Amount::Fraction(0.5).tokens(), None);
    }

    #[test]
    fn coins_are_worth_whole_tokens() {
        for (coins, tokens) in [("1", 100), ("0.5", 50), ("0.1", 10), ("0.07", 7), ("0.01", 1), ("1.15", 115)]
        {
            assert_eq!(amount(coins).and_then(|coins| coins.coins(100)), Some(tokens), "{coins}");
        }
        for coins in ["0.001", "0.005", "1.234", "1e-300", "1e300", "90071992547410", "18446744073709551615"]
        {
            assert_eq!(amount(coins).and_then(|coins| coins.coins(100)), None, "{coins}");
        }
    }
}
