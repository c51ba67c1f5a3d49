//! How this API puts an agent's feelings into numbers and words.
//!
//! The words are the documented ones, in Spanish, and clients show them as they are. They are chosen from the rounded
//! numbers that stand beside them, so that a payload never contradicts itself.

use antiphon_core::agents::Relation;
use serde::{Serialize, Serializer};

use crate::payload::Decimal;

/// `state`: the three feelings that a person is shown, each 0 … 1 with at most four decimals.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct State {
    trust: Decimal,
    affinity: Decimal,
    respect: Decimal,
}

impl State {
    /// What of `relation` is shown. Love and curiosity are the agent's own.
    pub(super) fn of(relation: &Relation) -> Self {
        Self {
            trust: Decimal::rounded(relation.trust),
            affinity: Decimal::rounded(relation.affinity),
            respect: Decimal::rounded(relation.respect),
        }
    }

    /// `relationLevel`: the mean of the three in a phrase.
    pub(super) fn level(self) -> &'static str {
        let sum = self.trust.value() + self.affinity.value() + self.respect.value();
        match Decimal::rounded(sum / 3.0).value() {
            mean if mean >= 0.8 => "Conexión profunda",
            mean if mean >= 0.6 => "Buena relación",
            mean if mean >= 0.4 => "Relación neutral",
            mean if mean >= 0.2 => "Relación tensa",
            _ => "Relación frágil",
        }
    }

    /// `emotions`: a list of what stands out, never empty.
    pub(super) fn emotions(self) -> Emotions {
        Emotions(self)
    }
}

/// Serializes as a list of one to three words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Emotions(State);

impl Serialize for Emotions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (trust, affinity, respect) =
            (self.0.trust.value(), self.0.affinity.value(), self.0.respect.value());
        let felt = [
            (trust > 0.7, "Confianza"),
            (affinity > 0.7, "Afinidad"),
            (respect > 0.6, "Respeto"),
            (trust < 0.3, "Desconfianza"),
            (affinity < 0.3, "Distancia"),
        ];
        let neutral = !felt.iter().any(|(is_felt, _)| *is_felt);
        let words = felt.into_iter().chain([(neutral, "Neutral")]);
        serializer.collect_seq(words.filter_map(|(is_felt, word)| is_felt.then_some(word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(trust: f64, affinity: f64, respect: f64) -> State {
        State::of(&Relation { trust, affinity, respect, ..Relation::default() })
    }

    fn emotions(trust: f64, affinity: f64, respect: f64) -> String {
        serde_json::to_string(&state(trust, affinity, respect).emotions()).expect("a list of words")
    }

    #[test]
    fn the_level_follows_the_mean_and_each_bound_belongs_to_the_better_level() {
        let level = |mean: f64| state(mean, mean, mean).level();
        for (mean, phrase) in [
            (1.0, "Conexión profunda"),
            (0.8, "Conexión profunda"),
            (0.7999, "Buena relación"),
            (0.6, "Buena relación"),
            (0.5999, "Relación neutral"),
            (0.4, "Relación neutral"),
            (0.3999, "Relación tensa"),
            (0.2, "Relación tensa"),
            (0.1999, "Relación frágil"),
            (0.0, "Relación frágil"),
        ] {
            assert_eq!(level(mean), phrase, "{mean}");
        }
        assert_eq!(state(0.9, 0.6, 0.3).level(), "Buena relación");
    }

    #[test]
    fn emotions_begin_beyond_their_bound_and_not_at_it() {
        assert_eq!(emotions(0.5, 0.5, 0.5), r#"["Neutral"]"#);
        assert_eq!(emotions(0.7, 0.7, 0.6), r#"["Neutral"]"#);
        assert_eq!(emotions(0.71, 0.71, 0.61), r#"["Confianza","Afinidad","Respeto"]"#);
        assert_eq!(emotions(0.3, 0.3, 0.5), r#"["Neutral"]"#);
        assert_eq!(emotions(0.29, 0.29, 0.5), r#"["Desconfianza","Distancia"]"#);
        assert_eq!(emotions(0.29, 0.71, 0.61), r#"["Afinidad","Respeto","Desconfianza"]"#);
    }

    #[test]
    fn drift_in_a_sum_is_neither_shown_nor_felt() {
        let drifted = 0.6 + 0.02 * 5.0 + 1e-12;
        assert!(drifted > 0.7);
        assert_eq!(emotions(drifted, 0.5, 0.5), r#"["Neutral"]"#);
        assert_eq!(
            serde_json::to_string(&state(drifted, 0.1 + 0.2, 1.0)).expect("three numbers"),
            r#"{"trust":0.7,"affinity":0.3,"respect":1}"#
        );
    }
}
