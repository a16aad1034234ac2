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

/// The levels of a filter that every tag begins with that it lets through.
pub(super) fn fixed(filter: &str) -> String {
    let wild = |it: &&str| *it == "+" || *it == "#";
    let levels: Vec<&str> = filter.split('/').take_while(|it| !wild(it)).collect();
    levels.join("/")
}

/// All that [`fixed`] can be of filters that let a tag through.
pub(super) fn beginnings(tag: &str) -> impl Iterator<Item = &str> {
    let ends = tag.match_indices('/').map(|it| it.0).chain([tag.len()]);
    std::iter::once("").chain(ends.map(|end| &tag[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lang::rules::filter_matches;

    #[test]
    fn a_filter_is_found_by_every_tag_that_it_lets_through() {
        let levels = ["a", "b", "c"];
        let wild = ["a", "b", "+", "#"];
        let tags =
            levels.iter().flat_map(|a| levels.map(|b| format!("{a}/{b}"))).chain(levels.map(str::to_owned));
        let tags: Vec<String> = tags.collect();
        let filters =
            wild.iter().flat_map(|a| wild.map(|b| format!("{a}/{b}"))).chain(wild.map(str::to_owned));
        let mut let_through = 0;
        for filter in filters {
            for tag in tags.iter().filter(|it| filter_matches(&filter, it)) {
                let_through += 1;
                let fixed = fixed(&filter);
                assert!(beginnings(tag).any(|it| it == fixed), "{filter} {tag}");
            }
        }
        assert!(let_through > 50, "{let_through}");
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
