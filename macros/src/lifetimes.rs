//! Borrows inside of types, seen as tokens: a type comes out as it went in, but for its lifetimes.
//!
//! A lifetime that a path leaves out (`Cow<str>`) cannot be seen here; rustc asks for it where it is missed.

use proc_macro2::{Group, Punct, Spacing, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Lifetime;

/// Gives every lifetime in `ty` but `'static`, written or left out after a `&`, the name `lifetime`.
pub(crate) fn renamed(ty: impl ToTokens, lifetime: &Lifetime) -> TokenStream {
    let tokens: Vec<_> = ty.into_token_stream().into_iter().collect();
    let mut renamed = TokenStream::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), self::renamed(group.stream(), lifetime));
                inner.set_span(group.span());
                renamed.extend([TokenTree::Group(inner)]);
            }
            TokenTree::Ident(name) if follows(&tokens, at, '\'') && name != "static" => {
                let mut name = lifetime.ident.clone();
                name.set_span(token.span());
                renamed.extend([TokenTree::Ident(name)]);
            }
            TokenTree::Punct(and) if is_reference(&tokens, at) => {
                // The second half of an `&&` comes apart from the first.
                let mut reference = Punct::new('&', Spacing::Alone);
                reference.set_span(and.span());
                renamed.extend([TokenTree::Punct(reference)]);
                if !tokens.get(at + 1).is_some_and(|next| is_sign(next, '\'')) {
                    renamed.extend(spelled(lifetime, and.span()));
                }
            }
            _ => renamed.extend([token.clone()]),
        }
    }
    renamed
}

/// Whether `ty` has a reference, or a lifetime other than `'static`.
pub(crate) fn occur(ty: impl ToTokens) -> bool {
    any(ty.into_token_stream(), &|tokens, at| {
        is_reference(tokens, at)
            || matches!(&tokens[at], TokenTree::Ident(name) if follows(tokens, at, '\'') && name != "static")
    })
}

/// Whether `ty` has a reference that is to live for ever.
pub(crate) fn occur_static(ty: impl ToTokens) -> bool {
    any(ty.into_token_stream(), &|tokens, at| {
        is_reference(tokens, at)
            && matches!(tokens.get(at + 2), Some(TokenTree::Ident(name)) if name == "static")
            && follows(tokens, at + 2, '\'')
    })
}

/// Whether the keyword `word` stands somewhere in `ty`; not the `mut` of a pointer.
pub(crate) fn mentions(ty: impl ToTokens, word: &str) -> bool {
    any(ty.into_token_stream(), &|tokens, at| {
        matches!(&tokens[at], TokenTree::Ident(found) if found == word) && !follows(tokens, at, '*')
    })
}

/// Whether `words` hold all the words of `ty`.
pub(crate) fn mentions_only(ty: impl ToTokens, words: &[&str]) -> bool {
    !any(ty.into_token_stream(), &|tokens, at| match &tokens[at] {
        TokenTree::Ident(found) => !follows(tokens, at, '\'') && words.iter().all(|word| found != word),
        _ => false,
    })
}

/// Whether `test` holds for a token of any depth, given with its neighbours.
fn any(tokens: TokenStream, test: &dyn Fn(&[TokenTree], usize) -> bool) -> bool {
    let tokens: Vec<_> = tokens.into_iter().collect();
    (0..tokens.len()).any(|at| match &tokens[at] {
        TokenTree::Group(group) => any(group.stream(), test),
        _ => test(&tokens, at),
    })
}

/// `A & B` is arithmetic, in the length of an array: there, a value stands before the sign.
fn is_reference(tokens: &[TokenTree], at: usize) -> bool {
    is_sign(&tokens[at], '&')
        && match at.checked_sub(1).map(|before| &tokens[before]) {
            Some(TokenTree::Literal(_) | TokenTree::Group(_)) => false,
            Some(TokenTree::Ident(word)) => word == "mut" || word == "const" || follows(tokens, at - 1, '\''),
            Some(TokenTree::Punct(_)) | None => true,
        }
}

fn follows(tokens: &[TokenTree], at: usize, sign: char) -> bool {
    at.checked_sub(1).is_some_and(|before| is_sign(&tokens[before], sign))
}

fn is_sign(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn spelled(lifetime: &Lifetime, span: Span) -> [TokenTree; 2] {
    let mut quote = Punct::new('\'', Spacing::Joint);
    quote.set_span(span);
    let mut name = lifetime.ident.clone();
    name.set_span(span);
    [TokenTree::Punct(quote), TokenTree::Ident(name)]
}

#[cfg(test)]
mod test {
    use super::*;
    use quote::quote;

    #[track_caller]
    fn check(ty: TokenStream, expected: TokenStream) {
        let lifetime = Lifetime::new("'x", Span::call_site());
        assert_eq!(renamed(&ty, &lifetime).to_string(), expected.to_string());
    }

    #[test]
    fn every_lifetime_but_static_gets_the_name() {
        check(quote!(&str), quote!(&'x str));
        check(quote!(&'a [&'b u8]), quote!(&'x [&'x u8]));
        check(quote!(&'a &'b u8), quote!(&'x &'x u8));
        check(quote!(Option<(Cow<'_, str>, &str)>), quote!(Option<(Cow<'x, str>, &'x str)>));
        check(quote!(Cow<'static, str>), quote!(Cow<'static, str>));
        check(quote!(&&'static str), quote!(&'x &'static str));
        check(quote!(Vec<u8>), quote!(Vec<u8>));
    }

    #[test]
    fn arithmetic_in_the_length_of_an_array_is_left_alone() {
        check(quote!([u8; N & 7]), quote!([u8; N & 7]));
        check(quote!([u8; len() & 7]), quote!([u8; len() & 7]));
        check(quote!([&u8; 6 & 7]), quote!([&'x u8; 6 & 7]));
        assert!(!occur(quote!([u8; N & 7])));
    }

    #[test]
    fn borrows_are_found_at_any_depth() {
        for ty in [quote!(&str), quote!(Option<(&str,)>), quote!(Cow<'_, str>), quote!(&'static str)] {
            assert!(occur(&ty), "{ty}");
        }
        for ty in [quote!(String), quote!(Cow<'static, str>), quote!([char; 'a' as usize])] {
            assert!(!occur(&ty), "{ty}");
        }
        assert!(occur_static(quote!(Vec<&'static str>)));
        assert!(!occur_static(quote!((&str, Cow<'static, str>))));
    }

    #[test]
    fn words_are_found_but_not_those_of_pointers() {
        assert!(mentions(quote!(Option<&'a mut [u8]>), "mut"));
        assert!(mentions(quote!(&(impl Fn() + Send)), "impl"));
        assert!(!mentions(quote!(*mut u8), "mut"));
        assert!(mentions_only(quote!(&'a [Option<&str>]), &["Option", "str"]));
        assert!(!mentions_only(quote!(Vec<str::Text>), &["Vec", "str"]));
    }
}
