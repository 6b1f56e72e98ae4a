//! What stands in the parentheses of `#[task(…)]`.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitInt, LitStr, Path, Result, Token};

const KNOWN: &str = "known options: `name = \"…\"`, `timeout = \"30s\"`, `retries = 2`, `on_cancel = \"kill\"`, \
                     `\"cooperate\"` or `\"finish\"`, `crate = path`";

/// What cancelling does to a task that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnCancel {
    Finish,
    Cooperate,
    Kill,
}

/// The options of one task, each at most once.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) retries: Option<u32>,
    pub(crate) on_cancel: Option<OnCancel>,
    /// Where the library is, if it is not `::procpool`.
    pub(crate) library: Option<Path>,
    /// The type that it is a method of, and what is known of it there. Not written by users.
    pub(crate) owner: Option<Owner>,
}

/// The type that a task is a method of.
pub(crate) struct Owner {
    /// Its name and that of the method, as errors show them.
    pub(crate) shown: String,
    /// Tells whether an object is one that the method can be called on.
    pub(crate) fits: TokenStream,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Options::default();
        while !input.is_empty() {
            let key = input
                .call(Ident::parse_any)
                .map_err(|error| Error::new(error.span(), format!("not an option; {KNOWN}")))?;
            match key.to_string().as_str() {
                "name" => once(&mut options.name, &key, || name(value(input, &key)?))?,
                "timeout" => once(&mut options.timeout_ms, &key, || timeout(&value(input, &key)?))?,
                "retries" => once(&mut options.retries, &key, || retries(input, &key))?,
                "on_cancel" => once(&mut options.on_cancel, &key, || on_cancel(&value(input, &key)?))?,
                "crate" => once(&mut options.library, &key, || {
                    input.parse::<Token![=]>()?;
                    input.call(Path::parse_mod_style)
                })?,
                other => return Err(Error::new(key.span(), format!("unknown option `{other}`; {KNOWN}"))),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

fn once<T>(slot: &mut Option<T>, key: &Ident, read: impl FnOnce() -> Result<T>) -> Result<()> {
    if slot.is_some() {
        let message = format!("`{key}` is given twice, keep one of the two; {KNOWN}");
        return Err(Error::new(key.span(), message));
    }
    *slot = Some(read()?);
    Ok(())
}

fn value(input: ParseStream<'_>, key: &Ident) -> Result<LitStr> {
    let wanted = |span: Span| Error::new(span, format!("`{key}` takes a string literal: `{key} = \"…\"`"));
    if !input.peek(Token![=]) {
        return Err(wanted(key.span()));
    }
    input.parse::<Token![=]>()?;
    input.parse().map_err(|error: Error| wanted(error.span()))
}

fn name(value: LitStr) -> Result<LitStr> {
    if value.value().trim().is_empty() {
        return Err(Error::new(
            value.span(),
            "the name of a task is empty; leave `name` out to use the path",
        ));
    }
    Ok(value)
}

fn retries(input: ParseStream<'_>, key: &Ident) -> Result<u32> {
    let wanted = |span: Span| Error::new(span, "`retries` takes a whole number: `retries = 2`");
    input.parse::<Token![=]>().map_err(|_| wanted(key.span()))?;
    let number: LitInt = input.parse().map_err(|error: Error| wanted(error.span()))?;
    number.base10_parse().map_err(|_| wanted(number.span()))
}

fn on_cancel(value: &LitStr) -> Result<OnCancel> {
    match value.value().as_str() {
        "kill" => Ok(OnCancel::Kill),
        "cooperate" => Ok(OnCancel::Cooperate),
        "finish" => Ok(OnCancel::Finish),
        _ => Err(Error::new(
            value.span(),
            "`on_cancel` is \"kill\" (the worker of a cancelled task is killed), \"cooperate\" (the task is asked to \
             stop, through its context) or \"finish\" (it runs to its end, the default)",
        )),
    }
}

fn timeout(value: &LitStr) -> Result<u64> {
    milliseconds(&value.value()).map_err(|reason| Error::new(value.span(), reason))
}

/// Reads `250ms`, `30s`, `1m30s`: whole numbers, each with its unit.
fn milliseconds(text: &str) -> std::result::Result<u64, String> {
    const GRAMMAR: &str = "write whole numbers with a unit of `ms`, `s`, `m` or `h`, as in \"250ms\", \"30s\" or \
                           \"1m30s\"";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(format!("the timeout is empty; {GRAMMAR}"));
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit());
        let (unit, after) = split(after.trim_start(), char::is_alphabetic);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(format!("`{text}` is not a duration; {GRAMMAR}")),
        };
        if number.is_empty() {
            return Err(format!("`{text}` is not a duration; {GRAMMAR}"));
        }
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| format!("`{text}` is too long; leave `timeout` out for a task without a limit"))?;
        rest = after.trim_start();
    }
    if total == 0 {
        return Err("a timeout of zero ends every task before it starts; leave `timeout` out for a task \
                    without a limit"
            .to_owned());
    }
    Ok(total)
}

/// The longest beginning of `text` whose characters all satisfy `belongs`, and what follows it.
fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units_and_their_sums() {
        for (text, expected) in [
            ("1ms", 1),
            ("250ms", 250),
            ("30s", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1h 30m", 5_400_000),
            (" 5 s ", 5_000),
            ("1s1ms", 1_001),
            ("0s1ms", 1),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_the_grammar() {
        for text in ["", "  ", "30", "s", "1.5s", "-1s", "1d", "30 S", "1s,2s", "1m30", "٣s"] {
            let reason = milliseconds(text).unwrap_err();
            assert!(reason.contains("as in"), "{text}: {reason}");
        }
    }

    #[test]
    fn zero_and_what_no_clock_holds_are_refused() {
        assert!(milliseconds("0ms").unwrap_err().contains("zero"));
        assert!(milliseconds("0h0s").unwrap_err().contains("zero"));
        assert!(milliseconds("18446744073709551615h").unwrap_err().contains("too long"));
        assert!(milliseconds("99999999999999999999ms").unwrap_err().contains("too long"));
        assert!(milliseconds("18446744073709551615ms1ms").unwrap_err().contains("too long"));
    }

    fn refusal(options: &str) -> String {
        match syn::parse_str::<Options>(options) {
            Ok(_) => panic!("`{options}` was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn options_are_taken_in_any_order() {
        let options: Options =
            syn::parse_str("on_cancel = \"finish\", crate = my::pool, timeout = \"2s\", name = \"n\",")
                .unwrap();
        assert_eq!(options.name.unwrap().value(), "n");
        assert_eq!(options.timeout_ms, Some(2_000));
        assert_eq!(options.on_cancel, Some(OnCancel::Finish));
        assert_eq!(syn::parse_str::<Options>("retries = 2").unwrap().retries, Some(2));
        assert_eq!(options.library.unwrap().segments.len(), 2);
        assert!(syn::parse_str::<Options>("").unwrap().name.is_none());
    }

    #[test]
    fn unknown_and_repeated_options_are_refused_with_the_list() {
        for options in ["retry = 2", "name = \"a\", name = \"b\"", "timeout = \"1s\", timeout = \"1s\""] {
            assert!(refusal(options).contains("known options"), "{options}");
        }
    }

    #[test]
    fn values_must_be_string_literals_that_mean_something() {
        assert!(refusal("timeout").contains("takes a string literal"));
        assert!(refusal("timeout = 30").contains("takes a string literal"));
        assert!(refusal("name = NAME").contains("takes a string literal"));
        assert!(refusal("name = \" \"").contains("empty"));
        assert!(refusal("on_cancel = \"stop\"").contains("\"kill\""));
        for options in ["retries", "retries = \"2\"", "retries = -1", "retries = 99999999999"] {
            assert!(refusal(options).contains("whole number"), "{options}");
        }
    }
}
