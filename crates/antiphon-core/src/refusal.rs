//! Why something was not done.
//!
//! A [`Refusal`] is for the client: a stable code and one kind sentence. A [`Fault`] is for us: it is logged once at the
//! edge and shown outside as "internal".

use std::borrow::Cow;

/// Stable reasons. A dialect turns each into its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// The payload is not what the event needs.
    Invalid,
    /// No credential was sent.
    Unauthenticated,
    /// The credential sent is not known.
    BadCredential,
    /// An id in the payload is not the sender's.
    Forbidden,
    /// It does not exist, or it is not yours: the two look the same.
    NotFound,
    /// Too often.
    RateLimited {
        /// When to try again, in milliseconds.
        retry_after: u64,
    },
    /// The plan's monthly allowance is used up.
    OverQuota {
        /// How many were used.
        current: u64,
        /// How many the plan allows.
        limit: u64,
    },
    /// Too much at once.
    TooLarge,
    /// The same key was used for something else, or things have moved on so that it cannot be done any more.
    Conflict,
    /// Not now; nothing was done.
    Unavailable {
        /// When to try again, in milliseconds.
        retry_after: u64,
    },
    /// Something here failed; nothing was done.
    Internal,
    /// The person has too few tokens for it.
    Insufficient {
        /// How many they have.
        balance: u64,
    },
}

impl Code {
    /// The stable name, for programs: in metrics, in the HTTP API, and in acks that a dialect leaves to us.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::BadCredential => "bad_credential",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::RateLimited { .. } => "rate_limited",
            Self::OverQuota { .. } => "over_quota",
            Self::TooLarge => "too_large",
            Self::Conflict => "conflict",
            Self::Unavailable { .. } => "unavailable",
            Self::Internal => "internal",
            Self::Insufficient { .. } => "insufficient",
        }
    }
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable reason.
    pub code: Code,
    /// One kind sentence.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// A refusal with `code` that says `message`.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into() }
    }

    /// The payload is not what the event needs; `message` says what is.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// It does not exist, or it is not yours.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// An id in the payload is not the sender's.
    pub fn forbidden() -> Self {
        Self::new(Code::Forbidden, "The id in this message is not yours.")
    }

    /// Something here failed. What it was stays in the log.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "Something failed here. Nothing was stored; please try again.")
    }
}

/// Something that should work did not. Never shown to a client, who gets its [`refusal`](Fault::refusal).
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Fault {
    context: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Boxed, because it is rare and a fault is in every result.
    told: Option<Box<Refusal>>,
}

impl Fault {
    /// A fault that nothing else caused.
    pub fn new(context: impl Into<String>) -> Self {
        Self { context: context.into(), source: None, told: None }
    }

    /// A fault while doing `context`, caused by `source`.
    pub fn because(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { context: context.into(), source: Some(source.into()), told: None }
    }

    /// The same fault, of an outage that whoever found it has said in the log: clients are told `refusal`, and each command
    /// that meets it is not one more line.
    pub fn told(self, refusal: Refusal) -> Self {
        Self { told: Some(Box::new(refusal)), ..self }
    }

    /// Whether the outage behind it is in the log already.
    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// What a client is told: [`Refusal::internal`], unless there is something better to say.
    pub fn refusal(&self) -> Refusal {
        self.told.as_deref().cloned().unwrap_or_else(Refusal::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_of_an_outage_and_of_nothing_else_that_broke() {
        let fault = Fault::because("appending a message", Fault::new("/var/lib/antiphon is full"));
        assert_eq!((fault.is_told(), fault.refusal()), (false, Refusal::internal()));
        let full = Refusal::new(Code::Unavailable { retry_after: 5_000 }, "The disk is full.");
        let fault = fault.told(full.clone());
        assert_eq!((fault.is_told(), fault.refusal()), (true, full));
        assert_eq!(fault.to_string(), "appending a message", "the log keeps the rest");
    }
}
