//! Numbers by name, for names that are ours.

/// Numbers by name. There are few names, and they are ours: looking through them is cheaper than hashing one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named(Vec<(&'static str, u64)>);

impl Named {
    /// Adds `more` to the number of `name`.
    pub(crate) fn add(&mut self, name: &'static str, more: u64) {
        match place_of(&self.0, name) {
            Some(place) => self.0[place].1 += more,
            None => self.0.push((name, more)),
        }
    }

    /// Adds every number of `other`.
    pub(crate) fn add_all(&mut self, other: &Self) {
        for (name, more) in &other.0 {
            self.add(name, *more);
        }
    }

    /// In alphabetical order.
    pub(crate) fn sorted(mut self) -> Vec<(&'static str, u64)> {
        self.0.sort_unstable();
        self.0
    }
}

/// Where `name` is in `list`. A name is nearly always the very same text in our program: then nothing has to be read.
pub(super) fn place_of<T>(list: &[(&'static str, T)], name: &'static str) -> Option<usize> {
    let same = list.iter().position(|(known, _)| std::ptr::eq(*known, name));
    same.or_else(|| list.iter().position(|(known, _)| *known == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_name_are_added_wherever_the_name_comes_from() {
        let (mut one, mut other) = (Named::default(), Named::default());
        one.add("b", 1);
        other.add("a", 2);
        other.add("b", 3);
        one.add_all(&other);
        assert_eq!(one.sorted(), [("a", 2), ("b", 4)]);
    }
}
