//! What the payloads of every dialect have in common.
//!
//! Reading: an argument is an object or it is refused. Writing: numbers look as JavaScript prints them.

use std::fmt;
use std::marker::PhantomData;

use antiphon_core::dialect::Args;
use antiphon_core::refusal::{Code, Refusal};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The first argument as the object `T`. Fields that `T` does not have are ignored, and so are further arguments.
///
/// Anything else is refused as invalid, in the words of `expected`: one sentence that says what the event needs. What the
/// client sent is not repeated to it.
pub(crate) fn object<T: DeserializeOwned>(args: &Args, expected: &'static str) -> Result<T, Refusal> {
    match args.first::<Object<T>>() {
        Ok(Object(payload)) => Ok(payload),
        Err(_) => Err(Refusal::invalid(expected)),
    }
}

/// The text in `token` of a CONNECT's `auth` object. No object, no token, `null` and the empty text are none; anything but text
/// is a bad credential.
pub(crate) fn token(auth: Option<&str>) -> Result<Option<String>, Refusal> {
    // Text that is not JSON carries no token either.
    let mut auth: Value = auth.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match auth.get_mut("token").map(Value::take) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(token)) => Ok(Some(token).filter(|token| !token.is_empty())),
        Some(_) => Err(Refusal::new(Code::BadCredential, "The credential in auth.token must be text.")),
    }
}

/// A number for people: rounded to four decimals, and printed as JavaScript would, `1` and not `1.0`.
///
/// Sums of hundredths drift (`0.5300000000000001`). Whoever compares such a number with a threshold compares the rounded
/// [`value`](Decimal::value), so that words and numbers in one payload agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decimal(f64);

impl Decimal {
    /// `value`, rounded.
    pub(crate) fn rounded(value: f64) -> Self {
        Self((value * 10_000.0).round() / 10_000.0)
    }

    /// The rounded number.
    pub(crate) fn value(self) -> f64 {
        self.0
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Up to here every whole `f64` is exact as an integer.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() <= EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// A `T` that was written as an object. Derived structs would also read `["luna","ada"]`, which no document allows.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMaps<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMaps<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(OnlyMaps(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Named {
        name: String,
    }

    fn named(json: &str) -> Result<Named, Refusal> {
        object(&Args::new(json.into(), Vec::new()), "A name is needed.")
    }

    #[test]
    fn an_object_is_read_and_what_is_unknown_is_ignored() {
        assert_eq!(named(r#"[{"name":"luna","more":[1,{}]},2]"#), Ok(Named { name: "luna".into() }));
    }

    #[test]
    fn anything_but_the_object_is_refused_in_the_words_of_the_event() {
        for json in ["[]", "[null]", "[[\"luna\"]]", "[\"luna\"]", "[{}]", r#"[{"name":1}]"#, "{}", "", "[{"]
        {
            assert_eq!(named(json), Err(Refusal::invalid("A name is needed.")), "{json}");
        }
    }

    #[test]
    fn a_name_that_is_given_twice_is_refused() {
        assert!(named(r#"[{"name":"luna","name":"mira"}]"#).is_err());
    }

    #[test]
    fn numbers_look_as_javascript_prints_them() {
        let text = |value: f64| serde_json::to_string(&Decimal::rounded(value)).expect("a number");
        assert_eq!(text(0.5), "0.5");
        assert_eq!(text(0.5 + 0.03), "0.53");
        assert_eq!(text(0.1 + 0.2), "0.3");
        assert_eq!(text(1.0), "1");
        assert_eq!(text(0.0), "0");
        assert_eq!(text(-0.0), "0");
        assert_eq!(text(0.99999), "1");
        assert_eq!(text(f64::NAN), "null");
        assert_eq!(text(f64::INFINITY), "null");
    }
}
