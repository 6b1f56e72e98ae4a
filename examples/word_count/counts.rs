//! Counting: files into words, counts into larger counts.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What one batch of files comes to, or all of them.
#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) words: HashMap<String, u64>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// Files with a NUL byte, or that are not UTF-8.
    pub(crate) binary: u64,
    /// Path and reason.
    pub(crate) unreadable: BTreeSet<String>,
}

impl Counts {
    pub(crate) fn add_file(&mut self, path: &Path) {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) => {
                self.unreadable.insert(format!("{}: {error}", path.display()));
                return;
            }
        };
        let Some(mut text) = String::from_utf8(content).ok().filter(|text| !text.contains('\0')) else {
            self.binary += 1;
            return;
        };
        text.make_ascii_lowercase();
        for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 1) {
            self.add_word(word, 1);
        }
        self.files += 1;
        self.bytes += text.len() as u64;
    }

    /// Most words are known already, so only the first of each is copied.
    fn add_word(&mut self, word: &str, times: u64) {
        match self.words.get_mut(word) {
            Some(known) => *known += times,
            None => drop(self.words.insert(word.to_owned(), times)),
        }
    }

    pub(crate) fn merge(&mut self, other: Counts) {
        other.words.iter().for_each(|(word, times)| self.add_word(word, *times));
        self.files += other.files;
        self.bytes += other.bytes;
        self.binary += other.binary;
        self.unreadable.extend(other.unreadable);
    }

    /// The most frequent words, at most so many; equally frequent ones in the order of the alphabet.
    pub(crate) fn top(&self, most: usize) -> Vec<(&str, u64)> {
        let mut words: Vec<_> = self.words.iter().map(|(word, times)| (word.as_str(), *times)).collect();
        words.sort_unstable_by_key(|&(word, times)| (Reverse(times), word));
        words.truncate(most);
        words
    }
}
