//! Attributes of the function have their effect where it is.

use super::{takes, task};

#[task]
#[cfg(any())]
fn configured_away(x: NoSuchType) {}

#[cfg(any())]
#[task]
fn configured_away(x: NoSuchType) {}

#[task]
#[cfg_attr(all(), cfg(any()), inline)]
fn configured_away(x: NoSuchType) {}

#[task]
#[cfg_attr(any(), cfg(any()), no_such_attribute)]
#[cfg_attr(all(), inline, allow(unused_variables), doc = "Here.")]
fn configured(#[allow(unused_mut)] mut x: u8) {}

#[task]
#[expect(dead_code)]
fn expected_to_be_unused() {}

#[task]
#[allow(dead_code)]
fn allowed_to_be_unused() {}

#[task]
#[expect(unused_variables)]
fn expected_to_be_sloppy(x: u8) {}

#[task]
#[must_use]
#[inline]
#[track_caller]
fn ordinary() -> u8 {
    1
}

#[task]
#[deprecated = "there is a better one"]
fn old() -> u8 {
    1
}

#[deprecated]
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Old(u8);

#[task]
#[expect(deprecated)]
fn takes_old(thing: Old) -> Old {
    thing
}

#[task]
fn new() -> u8 {
    1
}

#[test]
fn attributes_have_their_effect_where_it_is() {
    takes(configured, 1);
    configured(1);
    expected_to_be_sloppy(1);
    assert_eq!(ordinary(), 1);
    assert_eq!(new(), 1);
    #[expect(deprecated)]
    let value = old();
    assert_eq!(value, 1);
    #[expect(deprecated)]
    let value = takes_old(Old(value)).0;
    assert_eq!(value, 1);
}
