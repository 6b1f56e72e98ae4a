//! Pages of memory: their size, and large ones for large memory.
//!
//! To touch a page of 4 KiB for the first time costs as much as to copy several times as many bytes. Memory that is
//! about to be filled from one end to the other is better off with pages of 2 MiB.

use std::collections::TryReserveError;

use rustix::mm::Advice;

/// Bytes of a page. Asks nobody, so a worker that may open no file can ask: the kernel has told it at the start of the
/// process.
pub(crate) fn page_size() -> usize {
    // SAFETY: it reads a number.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// What is worth the call: a few large pages.
const LARGE: usize = 4 << 20;

/// Bytes of a large page.
pub(super) const LARGE_PAGE: usize = 2 << 20;

/// Memory of so many bytes is a mapping of its own, whatever was freed before: below that, an allocator may have some that
/// is in use already, which is better than any new.
pub(super) const MAPPED: usize = 32 << 20;

/// What an allocator may need of a mapping for itself.
const ITS_OWN: usize = 64;

/// Makes room for so many more. Large memory has so much that the kernel, asked for it, gives it a place where large pages
/// can begin, as it does only for whole ones; what is more than was asked for takes none until it is used.
#[inline]
pub(crate) fn try_reserve<T>(vector: &mut Vec<T>, more: usize) -> Result<(), TryReserveError> {
    let bytes = vector.len().saturating_add(more).saturating_mul(size_of::<T>());
    if (MAPPED..isize::MAX as usize - LARGE_PAGE).contains(&bytes) {
        let whole = (bytes + ITS_OWN).next_multiple_of(LARGE_PAGE) - ITS_OWN;
        if vector.try_reserve_exact(whole / size_of::<T>() - vector.len()).is_ok() {
            return Ok(());
        }
    }
    vector.try_reserve_exact(more)
}

/// Asks for large pages under the memory that `vector` has and has not used yet, if that is large. Called once it has
/// been reserved and before it is filled.
#[inline]
pub(crate) fn prefer_large<T>(vector: &mut Vec<T>) {
    let unused = vector.spare_capacity_mut();
    if size_of_val(unused) >= LARGE {
        advise(unused.as_mut_ptr().cast(), size_of_val(unused));
    }
}

#[cold]
fn advise(start: *mut u8, len: usize) {
    let page = page_size();
    // Whole pages, those at both ends included: the kernel moves memory that grows only if all of it is of one kind.
    let before = start.addr() % page;
    let len = (before + len).next_multiple_of(page);
    let start = start.wrapping_sub(before);
    // SAFETY: all these pages are mapped, since each has a byte of the vector's memory, and the advice changes nothing
    // that can be read from them. A kernel without large pages refuses it, and then nothing is lost.
    let _ = unsafe { rustix::mm::madvise(start.cast(), len, Advice::LinuxHugepage) };
}

#[cfg(test)]
mod test {
    use super::*;

    /// The kernel's flags of the mapping that `address` is in.
    fn flags_at(address: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((Ok(from), Ok(to))) =
                range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)))
            {
                inside = (from..to).contains(&address);
            }
            if inside && line.starts_with("VmFlags:") {
                return line.to_owned();
            }
        }
        panic!("{address:#x} is not mapped")
    }

    #[test]
    fn large_memory_is_on_large_pages_and_keeps_what_is_in_it() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            println!("SKIPPED: this kernel has no transparent large pages");
            return;
        }
        let mut vector = vec![7_u64; 1000];
        vector.reserve_exact(8 << 20);
        prefer_large(&mut vector);
        let unused = vector.spare_capacity_mut().as_ptr().addr();
        let flags = flags_at(unused + (16 << 20));
        assert!(flags.split(' ').any(|flag| flag == "hg"), "{flags}");
        vector.resize(8 << 20, 9);
        assert!(vector[..1000].iter().all(|&word| word == 7) && vector[1000..].iter().all(|&word| word == 9));
    }

    #[test]
    fn room_is_made_for_what_is_asked_and_large_memory_is_whole_pages() {
        let mut little = vec![1_u8];
        try_reserve(&mut little, 100).unwrap();
        assert_eq!(little.capacity(), 101);
        let mut large = vec![7_u16; 10];
        try_reserve(&mut large, 16 << 20).unwrap();
        let bytes = 2 * large.capacity();
        assert!((32 << 20..(34 << 20) + 32).contains(&bytes) && (bytes + ITS_OWN).is_multiple_of(LARGE_PAGE));
        assert_eq!(large, [7; 10]);
        assert!(try_reserve(&mut large, usize::MAX / 4).is_err());
        assert!(try_reserve(&mut large, usize::MAX).is_err());
    }

    #[test]
    fn small_memory_is_left_alone() {
        // A mapping of its own, of which nobody else is advised.
        let mut vector: Vec<u8> = Vec::with_capacity(LARGE - 1);
        prefer_large(&mut vector);
        let flags = flags_at(vector.as_ptr().addr() + LARGE / 2);
        assert!(!flags.split(' ').any(|flag| flag == "hg"), "{flags}");
    }
}
