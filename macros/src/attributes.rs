//! Which attributes of the function go where, now that it is a value and a function.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Signature, Token};

use crate::expand::written;

/// The user's attributes, by where they have their effect.
#[derive(Default)]
pub(crate) struct Attributes {
    /// For every item of the expansion.
    pub(crate) cfg: Vec<TokenStream>,
    /// For the value that users see.
    pub(crate) value: Vec<TokenStream>,
    /// For the function with the body; foreign attributes go here, they expect a function.
    pub(crate) body: Vec<TokenStream>,
}

impl Attributes {
    pub(crate) fn sorted(attributes: &[Attribute], signature: &Signature) -> Attributes {
        let mut sorted = Attributes::default();
        for attribute in attributes {
            sorted.sort(&attribute.meta, &|meta| quote!(#[#meta]));
        }
        // Rustdoc shows a constant. An undocumented function stays so, for `missing_docs` to find it.
        if attributes.iter().any(|attribute| attribute.path().is_ident("doc")) {
            let shown = format!("\n\nA task: `{}`", written(signature));
            sorted.value.push(quote!(#[doc = #shown]));
        }
        sorted
    }

    /// Puts one attribute where it belongs; `wrap` puts back the `cfg_attr` around it.
    fn sort(&mut self, meta: &Meta, wrap: &dyn Fn(&dyn ToTokens) -> TokenStream) {
        let attribute = || wrap(meta);
        match name(meta).as_str() {
            "cfg" => self.cfg.push(attribute()),
            "cfg_attr" => match conditional(meta) {
                Some((condition, attributes)) => {
                    for meta in attributes {
                        self.sort(&meta, &|meta| wrap(&quote!(cfg_attr(#condition, #meta))));
                    }
                }
                None => self.body.push(attribute()),
            },
            "doc" | "deprecated" => self.value.push(attribute()),
            "allow" | "warn" | "deny" | "forbid" => {
                self.value.push(attribute());
                self.body.push(attribute());
            }
            // An expectation must be met wherever it stands, so it stands in one place only.
            "expect" if is_about_the_item(meta) => self.value.push(attribute()),
            _ => self.body.push(attribute()),
        }
    }
}

fn name(meta: &Meta) -> String {
    meta.path().get_ident().map(ToString::to_string).unwrap_or_default()
}

/// The condition and the attributes of a `cfg_attr`.
fn conditional(meta: &Meta) -> Option<(Meta, Vec<Meta>)> {
    let list = meta.require_list().ok()?;
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let mut parts = parts.into_iter();
    Some((parts.next()?, parts.collect()))
}

/// Whether an `expect` is of a lint that looks at the item from outside, and not into its body.
fn is_about_the_item(meta: &Meta) -> bool {
    const LINTS: [&str; 5] = ["dead_code", "missing_docs", "unreachable_pub", "unnameable_types", "unused"];
    let Ok(list) = meta.require_list() else { return false };
    let lints = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    lints.is_ok_and(|lints| lints.iter().any(|lint| LINTS.iter().any(|name| lint.path().is_ident(name))))
}
