//! Which reactions are found under which names, so that nothing that happens looks at all of them.

use std::collections::{BTreeMap, BTreeSet};

/// Number and id: in order of age.
pub(super) type Place = (u64, String);

/// Reactions by names of one kind; each may have several.
#[derive(Debug)]
pub(super) struct Index<K> {
    places: BTreeMap<K, BTreeSet<Place>>,
    names: BTreeMap<Place, Vec<K>>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), names: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Index<K> {
    /// These are its names from now on.
    pub(super) fn set(&mut self, place: &Place, names: impl IntoIterator<Item = K>) {
        self.remove(place);
        let names: Vec<K> = names.into_iter().collect();
        for name in &names {
            self.places.entry(name.clone()).or_default().insert(place.clone());
        }
        if !names.is_empty() {
            self.names.insert(place.clone(), names);
        }
    }

    pub(super) fn remove(&mut self, place: &Place) {
        for name in self.names.remove(place).unwrap_or_default() {
            if let Some(places) = self.places.get_mut(&name) {
                places.remove(place);
                if places.is_empty() {
                    self.places.remove(&name);
                }
            }
        }
    }

    /// Those of a name, the oldest first.
    pub(super) fn of(&self, name: &K) -> impl Iterator<Item = &Place> {
        self.places.get(name).into_iter().flatten()
    }

    pub(super) fn count(&self, name: &K) -> usize {
        self.places.get(name).map_or(0, BTreeSet::len)
    }
}

impl Index<String> {
    /// Those that are found under filters that let a tag through, the oldest first.
    pub(super) fn heard(&self, tag: &str) -> Vec<Place> {
        let levels: Vec<&str> = tag.split('/').collect();
        let mut found = BTreeSet::new();
        self.hear("", &levels, &mut found);
        found.into_iter().collect()
    }

    /// Goes on with the filters that begin so, as long as there are any.
    fn hear(&self, begin: &str, levels: &[&str], found: &mut BTreeSet<Place>) {
        let mut take = |filter: &str| found.extend(self.places.get(filter).into_iter().flatten().cloned());
        take(&format!("{begin}#"));
        let Some((first, rest)) = levels.split_first() else { return };
        for level in [first, "+"] {
            let filter = format!("{begin}{level}");
            if rest.is_empty() {
                take(&filter);
            }
        }
        for level in [first, "+"] {
            let longer = format!("{begin}{level}/");
            let next = self.places.range(longer.clone()..).next();
            if next.is_some_and(|it| it.0.starts_with(&longer)) {
                self.hear(&longer, rest, found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lang::rules::filter_matches;

    #[test]
    fn a_tag_finds_the_filters_that_let_it_through_and_no_others() {
        let words = |of: &[&str]| -> Vec<String> {
            let mut all: Vec<String> = of.iter().map(ToString::to_string).collect();
            for _ in 0..2 {
                let longer = all.iter().flat_map(|it| of.iter().map(move |word| format!("{it}/{word}")));
                let longer: Vec<String> = longer.collect();
                all.extend(longer);
            }
            all.sort();
            all.dedup();
            all
        };
        let filters = words(&["a", "a-b", "+", "#"]);
        // Nothing comes behind `#`.
        let filters = filters.into_iter().filter(|it| !it.contains("#/"));
        let mut index = Index::default();
        let filters: BTreeMap<Place, String> =
            (0..).zip(filters).map(|it| ((it.0, String::new()), it.1)).collect();
        for (place, filter) in &filters {
            index.set(place, [filter.clone()]);
        }
        let mut let_through = 0;
        for tag in words(&["a", "a-b", "c"]) {
            let wanted: Vec<Place> =
                filters.iter().filter(|it| filter_matches(it.1, &tag)).map(|it| it.0.clone()).collect();
            let_through += wanted.len();
            assert_eq!(index.heard(&tag), wanted, "{tag}");
        }
        assert!(let_through > 200, "{let_through}");
    }

    #[test]
    fn names_are_replaced_and_nothing_is_left_of_what_is_removed() {
        let mut index = Index::default();
        let place = |number: u64| (number, number.to_string());
        index.set(&place(2), ["x", "y"]);
        index.set(&place(1), ["x"]);
        assert_eq!(index.of(&"x").map(|it| it.0).collect::<Vec<_>>(), [1, 2]);
        index.set(&place(2), ["y"]);
        assert_eq!((index.count(&"x"), index.count(&"y")), (1, 1));
        index.remove(&place(1));
        index.set(&place(2), []);
        assert!(index.places.is_empty() && index.names.is_empty());
    }
}
