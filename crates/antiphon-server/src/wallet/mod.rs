//! What can be configured about tokens: `[wallet]`. The rules themselves are in [`antiphon_core::wallet`].

use antiphon_core::wallet::MAX_BALANCE;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::chain;
use crate::outbound::Outbound;

/// Tokens: how many one gets, when, and how payments on a chain become some.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Tokens that somebody new is given; 0 is none. Default: 50.
    pub welcome: u64,
    /// Tokens that a person is given on each day (UTC) on which they ask; 0 is none. Default: 5.
    pub daily_reward: u64,
    /// Tokens on top of the daily reward for those who were here on each of the `streak_days` before. Default: 2.
    pub streak_bonus: u64,
    /// How many days in a row `streak_bonus` asks for, 1 to 365. Default: 3.
    pub streak_days: u32,
    /// How many tokens one coin of the chain is worth, 1 to 1000000000. Default: 100.
    pub tokens_per_coin: u64,
    /// The chain where payments of people are looked up. Without a `url` only the word of a backend counts.
    pub chain: chain::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        let rules = antiphon_core::wallet::Settings::default();
        Self {
            welcome: rules.welcome,
            daily_reward: rules.reward,
            streak_bonus: rules.streak_bonus,
            streak_days: rules.streak_days,
            tokens_per_coin: 100,
            chain: chain::Settings::default(),
        }
    }
}

impl Settings {
    /// The same in the words of the core.
    pub fn rules(&self) -> antiphon_core::wallet::Settings {
        antiphon_core::wallet::Settings {
            welcome: self.welcome,
            reward: self.daily_reward,
            streak_bonus: self.streak_bonus,
            streak_days: self.streak_days,
        }
    }

    /// Whether everything can work as it is set; the error names what cannot.
    pub fn check(&self, outbound: &Outbound) -> anyhow::Result<()> {
        let given = [
            ("welcome", self.welcome),
            ("daily_reward", self.daily_reward),
            ("streak_bonus", self.streak_bonus),
        ];
        for (key, tokens) in given {
            // Half of it, because a reward and its bonus are given together.
            anyhow::ensure!(tokens <= MAX_BALANCE / 2, "{key} in [wallet] is more than a wallet can hold");
        }
        anyhow::ensure!(
            (1..=365).contains(&self.streak_days),
            "streak_days in [wallet] lies between 1 and 365"
        );
        anyhow::ensure!(
            (1..=1_000_000_000).contains(&self.tokens_per_coin),
            "tokens_per_coin in [wallet] lies between 1 and 1000000000"
        );
        self.chain.check(self.tokens_per_coin, outbound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound;

    #[test]
    fn the_rules_are_those_that_are_set_and_by_default_those_of_the_core() {
        assert_eq!(Settings::default().rules(), antiphon_core::wallet::Settings::default());
        let settings: Settings =
            toml::from_str("welcome = 1\ndaily_reward = 2\nstreak_bonus = 3\nstreak_days = 4").unwrap();
        let expected =
            antiphon_core::wallet::Settings { welcome: 1, reward: 2, streak_bonus: 3, streak_days: 4 };
        assert_eq!(settings.rules(), expected);
    }

    #[test]
    fn what_no_wallet_could_hold_is_refused() {
        let outbound = Outbound::new(outbound::Settings::default());
        let check = |text: &str| toml::from_str::<Settings>(text).unwrap().check(&outbound);
        assert!(check("").is_ok());
        assert!(check("welcome = 0\ndaily_reward = 0\nstreak_bonus = 0").is_ok());
        for (text, named) in [
            ("welcome = 9007199254740991", "welcome"),
            ("daily_reward = 9007199254740991", "daily_reward"),
            ("streak_days = 0", "streak_days"),
            ("streak_days = 366", "streak_days"),
            ("tokens_per_coin = 0", "tokens_per_coin"),
            ("tokens_per_coin = 1000000001", "tokens_per_coin"),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
