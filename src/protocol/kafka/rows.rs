//! An array that mostly has one element: that one stands in the message itself, so that a small request allocates nothing.

use std::fmt;
use std::ops::Deref;

/// The elements of an array of the wire.
#[derive(Clone)]
pub enum Rows<T> {
    One(T),
    /// Any number, one as well.
    Many(Vec<T>),
}

impl<T> Rows<T> {
    /// Appends an element.
    pub fn push(&mut self, row: T) {
        let known = std::mem::take(self);
        *self = match known {
            Self::Many(none) if none.is_empty() => Self::One(row),
            Self::Many(mut rows) => {
                rows.push(row);
                Self::Many(rows)
            }
            Self::One(first) => Self::Many(vec![first, row]),
        };
    }

    /// The elements, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::One(row) => std::slice::from_mut(row),
            Self::Many(rows) => rows,
        }
    }
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> Deref for Rows<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(row) => std::slice::from_ref(row),
            Self::Many(rows) => rows,
        }
    }
}

impl<T> From<Vec<T>> for Rows<T> {
    fn from(rows: Vec<T>) -> Self {
        Self::Many(rows)
    }
}

impl<T> From<[T; 1]> for Rows<T> {
    fn from([row]: [T; 1]) -> Self {
        Self::One(row)
    }
}

impl<T> FromIterator<T> for Rows<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Self {
        let mut rows = rows.into_iter();
        let Some(first) = rows.next() else { return Self::default() };
        let Some(second) = rows.next() else { return Self::One(first) };
        let mut all = Vec::with_capacity(rows.size_hint().0.saturating_add(2));
        all.extend([first, second]);
        all.extend(rows);
        Self::Many(all)
    }
}

impl<'r, T> IntoIterator for &'r Rows<T> {
    type Item = &'r T;
    type IntoIter = std::slice::Iter<'r, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq> PartialEq for Rows<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Rows<T> {}

impl<T: fmt::Debug> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_equal_by_their_elements_however_they_are_kept() {
        let mut pushed = Rows::default();
        for (count, row) in [7, 8, 9].into_iter().enumerate() {
            assert_eq!(pushed.len(), count);
            pushed.push(row);
            let all = [7, 8, 9].into_iter().take(count + 1);
            assert_eq!(pushed, all.clone().collect::<Rows<_>>());
            assert_eq!(pushed, Rows::from(all.collect::<Vec<_>>()));
        }
        assert!(matches!(Rows::from([7]), Rows::One(7)));
        assert!(Rows::<u8>::from_iter([]).is_empty());
    }
}
