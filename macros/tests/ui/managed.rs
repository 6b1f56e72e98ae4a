//! What cannot be called from other processes, and what to do instead.

use procpool::managed;

struct Counter(u32);

#[managed]
impl Counter {
    pub fn take(self) -> u32 {
        self.0
    }
}

struct Waiter(u32);

#[managed]
impl Waiter {
    pub async fn wait(&self) -> u32 {
        self.0
    }
}

struct Lender(String);

#[managed]
impl Lender {
    pub fn text(&self) -> &str {
        &self.0
    }
}

struct Private(u32);

#[managed]
impl Private {
    fn get(&self) -> u32 {
        self.0
    }
}

struct Generic<T>(T);

#[managed]
impl<T> Generic<T> {
    pub fn get(&self) -> u32 {
        1
    }
}

struct Shown(u32);

#[managed]
impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

struct Optional(u32);

#[managed(name = "optional")]
impl Optional {
    pub fn get(&self) -> u32 {
        self.0
    }
}

struct Taken(u32);

#[managed]
impl Taken {
    pub fn host(&self) -> u32 {
        self.0
    }
}

fn main() {
    let _ = (Counter(1).take(), Waiter(1), Lender(String::new()).text().len(), Private(1).get());
    let _ = (Generic(1).get(), Shown(1).to_string(), Optional(1).get(), Taken(1).host());
}
