//! Which functions can be tasks, and what the worker has to know about their arguments.

use proc_macro2::{Span, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericParam, Generics, Ident, LitStr, PatType, Result, ReturnType, Safety,
    Signature, Token, Type, Visibility,
};

use crate::lifetimes;

/// Tuples implement the traits that arguments need up to about this length.
const MOST_ARGUMENTS: usize = 12;

/// A function as it stands in the source. The body is passed on unread.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenTree,
}

/// The type of one argument, and how the worker comes by a value of it.
pub(crate) struct Argument<'a> {
    pub(crate) written: &'a Type,
    pub(crate) decoded: Decoded<'a>,
}

/// What the worker decodes for one argument.
pub(crate) enum Decoded<'a> {
    /// The argument itself: an owned type, or one that serde lends from the bytes, such as `&str`.
    Itself,
    /// For `&[T]`, a `Vec<T>` that is lent.
    Elements(&'a Type),
    /// For `&Path` and its like, the owned type that std pairs it with, lent.
    Counterpart(&'a Type),
    /// For any other `&T`, a `T` that is lent.
    Referent(&'a Type),
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        if !starts_function(input) {
            return Err(input.error(
                "`#[task]` is for functions; put it over a `fn` that stands outside of any `impl` or `trait`",
            ));
        }
        let signature: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(input.error("a task needs a body; worker processes run it"));
        }
        let body = input.parse()?;
        Ok(Function { attributes, visibility, signature, body })
    }
}

/// Tells `const fn` from `const X`, and `extern "C" fn` from `extern "C" { … }`.
fn starts_function(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    while !ahead.peek(Token![fn]) {
        let qualified = ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern]);
        if !qualified || ahead.call(Ident::parse_any).is_err() || ahead.parse::<Option<LitStr>>().is_err() {
            return false;
        }
    }
    true
}

impl Function {
    /// The arguments in order, or every reason why this function cannot be a task.
    pub(crate) fn arguments(&self) -> Result<Vec<Argument<'_>>> {
        let signature = &self.signature;
        let mut refusals = Refusals::default();
        refusals.qualifiers(signature);
        refusals.generics(&signature.generics);
        for argument in &signature.inputs {
            match argument {
                FnArg::Receiver(receiver) => refusals.add(
                    receiver,
                    "a task has no `self`, because the worker has no such object; take the value as an \
                     ordinary argument of a function outside of the `impl`",
                ),
                FnArg::Typed(argument) => refusals.argument(argument),
            }
        }
        if let Some(first) = signature.inputs.iter().nth(MOST_ARGUMENTS) {
            refusals.add(first, "a task takes at most 12 arguments; put them into a struct");
        }
        refusals.output(&signature.output);
        refusals.attributes(&self.attributes);
        refusals.finish()?;
        let typed = signature.inputs.iter().filter_map(|argument| match argument {
            FnArg::Typed(argument) => Some(Argument::new(&argument.ty)),
            FnArg::Receiver(_) => None,
        });
        Ok(typed.collect())
    }
}

impl<'a> Argument<'a> {
    fn new(written: &'a Type) -> Self {
        Argument { written, decoded: Decoded::for_type(written) }
    }

    /// Where the type is written; of `&T`, the `T`.
    pub(crate) fn span(&self) -> Span {
        match bare(self.written) {
            Type::Reference(reference) => bare(&reference.elem).span(),
            ty => ty.span(),
        }
    }

    /// Whether the worker lends the argument from a value that it holds.
    pub(crate) fn is_lent(&self) -> bool {
        !matches!(self.decoded, Decoded::Itself)
    }

    /// Whether the type is made of nothing but what serde is known to take, going by the names.
    pub(crate) fn is_plain(&self) -> bool {
        const PLAIN: [&str; 21] = [
            "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32",
            "f64", "bool", "char", "str", "String", "Vec", "Option", "Path",
        ];
        lifetimes::mentions_only(self.written, &PLAIN)
    }
}

impl<'a> Decoded<'a> {
    fn for_type(written: &'a Type) -> Self {
        let Type::Reference(reference) = bare(written) else {
            return Decoded::Itself;
        };
        match bare(&reference.elem) {
            Type::Slice(slice) if is(&slice.elem, &["u8"]) => Decoded::Itself,
            Type::Slice(slice) => Decoded::Elements(&slice.elem),
            referent if is(referent, &["str"]) => Decoded::Itself,
            // By name only, so that a type of the user with such a name has to be `Clone` and works as well.
            referent if is(referent, &["Path", "OsStr", "CStr"]) => Decoded::Counterpart(referent),
            referent => Decoded::Referent(referent),
        }
    }
}

/// The type without parentheses and without the groups that `macro_rules!` puts around it.
fn bare(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            ty => return ty,
        }
    }
}

/// Whether `ty` is a path that ends in one of `names`.
fn is(ty: &Type, names: &[&str]) -> bool {
    match bare(ty) {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.arguments.is_none() && names.iter().any(|name| last.ident == name)),
        _ => false,
    }
}

/// All that is wrong with a function, so that one build tells it all.
#[derive(Default)]
struct Refusals(Option<Error>);

impl Refusals {
    fn add(&mut self, at: impl ToTokens, message: impl std::fmt::Display) {
        let error = Error::new_spanned(at, message);
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }

    fn qualifiers(&mut self, signature: &Signature) {
        if let Some(word) = &signature.constness {
            self.add(word, "a task runs in a worker process and never at compile time; leave out `const`");
        }
        if !matches!(signature.safety, Safety::Default) {
            self.add(
                &signature.safety,
                "a task is called by the worker, which cannot keep the promises of an `unsafe fn`; call that \
                 function in the body of a safe task",
            );
        }
        if let Some(abi) = &signature.abi {
            self.add(abi, "a task has Rust's own calling convention; call the `extern` function in its body");
        }
        if let Some(variadic) = &signature.variadic {
            self.add(variadic, "a task has a fixed list of arguments; take a `Vec`");
        }
    }

    fn generics(&mut self, generics: &Generics) {
        for parameter in &generics.params {
            match parameter {
                GenericParam::Type(_) | GenericParam::Const(_) => self.add(
                    parameter,
                    "a task cannot be generic, because the worker finds it by its name; write one task per \
                     type and call the generic function in its body",
                ),
                GenericParam::Lifetime(lifetime) if !lifetime.bounds.is_empty() => self.add(
                    parameter,
                    "the lifetimes of a task cannot have bounds; use one lifetime for all, they are lent \
                     together",
                ),
                GenericParam::Lifetime(_) => {}
            }
        }
        if let Some(clause) = &generics.where_clause {
            self.add(clause, "a task has nothing generic that a `where` clause could bound; leave it out");
        }
    }

    fn argument(&mut self, argument: &PatType) {
        for attribute in &argument.attrs {
            if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
                self.add(attribute, "an argument of a task cannot depend on `cfg`; write one task per case");
            }
        }
        let ty = &argument.ty;
        if lifetimes::mentions(ty, "mut") {
            self.add(
                ty,
                "a task cannot change its caller's value, which is in another process; take it by value and \
                 return it",
            );
        }
        if lifetimes::mentions(ty, "impl") {
            self.add(ty, "`impl Trait` makes a task generic; name the type of the argument");
        }
        if lifetimes::occur_static(ty) {
            self.add(
                ty,
                "an argument is lent for one call only; leave out `'static`, or take an owned value",
            );
        }
        self.own_type(ty);
    }

    fn output(&mut self, output: &ReturnType) {
        let ReturnType::Type(_, ty) = output else { return };
        if lifetimes::mentions(ty, "impl") {
            self.add(ty, "the caller has to decode the result; name its type instead of `impl Trait`");
        }
        if matches!(bare(ty), Type::Never(_)) {
            self.add(ty, "a task that never returns has no result to send back; return `()`");
        }
        if lifetimes::occur(ty) {
            self.add(
                ty,
                "the result leaves the process and cannot borrow; return an owned value, such as `String` or \
                 `Vec`",
            );
        }
        self.own_type(ty);
    }

    fn own_type(&mut self, ty: &Type) {
        if lifetimes::mentions(ty, "Self") {
            self.add(ty, "a task stands outside of any `impl` or `trait`; move it out and name the type");
        }
    }

    fn attributes(&mut self, attributes: &[Attribute]) {
        for attribute in attributes {
            let mut meta = attribute.meta.to_token_stream().to_string();
            meta.retain(|c| !c.is_whitespace());
            let name = meta.strip_prefix("unsafe(").unwrap_or(&meta);
            for refused in ["no_mangle", "export_name", "target_feature"] {
                if name.starts_with(refused) {
                    let message = format!("a task cannot be `{refused}`; call such a function in its body");
                    self.add(attribute, message);
                }
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use quote::quote;

    fn decoded(ty: &str) -> String {
        let ty: Type = syn::parse_str(ty).unwrap();
        match Decoded::for_type(&ty) {
            Decoded::Itself => "itself".to_owned(),
            Decoded::Elements(ty) => format!("elements {}", quote!(#ty)),
            Decoded::Counterpart(ty) => format!("counterpart {}", quote!(#ty)),
            Decoded::Referent(ty) => format!("referent {}", quote!(#ty)),
        }
    }

    #[test]
    fn owned_types_and_what_serde_lends_are_decoded_as_they_are() {
        for ty in ["u8", "Vec<&str>", "Option<&Path>", "&str", "&'a str", "&[u8]", "&(str)", "(&str, &[u8])"]
        {
            assert_eq!(decoded(ty), "itself", "{ty}");
        }
    }

    #[test]
    fn other_references_are_decoded_as_an_owner() {
        assert_eq!(decoded("&[u64]"), "elements u64");
        assert_eq!(decoded("&[&str]"), "elements & str");
        assert_eq!(decoded("&'a std::path::Path"), "counterpart std :: path :: Path");
        assert_eq!(decoded("&CStr"), "counterpart CStr");
        assert_eq!(decoded("&Path<u8>"), "referent Path < u8 >");
        assert_eq!(decoded("&String"), "referent String");
        assert_eq!(decoded("&[u8; 4]"), "referent [u8 ; 4]");
        assert_eq!(decoded("&&str"), "referent & str");
    }

    /// All that is said against a function.
    fn refusals(function: &str) -> Vec<String> {
        let function: Function = match syn::parse_str(function) {
            Ok(function) => function,
            Err(error) => return vec![error.to_string()],
        };
        match function.arguments() {
            Ok(_) => Vec::new(),
            Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
        }
    }

    #[test]
    fn functions_that_can_cross_are_taken() {
        for function in [
            "fn f() {}",
            "pub(crate) async fn f<'a>(mut x: &'a str, (y, _): (u8, u8)) -> Result<Cow<'static, str>, E> {}",
            "fn f(_: [u8; A & B], _: PhantomData<*mut u8>) -> [u8; A & B] {}",
            "fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8) {}",
        ] {
            assert_eq!(refusals(function), [""; 0], "{function}");
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let said = refusals(
            "const unsafe extern \"C\" fn f<T, const N: u8>(x: &mut T, _: ...) -> &T where T: Copy {}",
        );
        let beginnings = [
            "never at compile time",
            "unsafe fn",
            "calling convention",
            "fixed list",
            "generic",
            "generic",
            "where",
            "caller's value",
            "cannot borrow",
        ];
        assert_eq!(said.len(), beginnings.len(), "{said:?}");
        for (said, part) in said.iter().zip(beginnings) {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn what_is_not_a_function_is_told_apart_from_odd_functions() {
        for item in [
            "struct S;",
            "const X: u8 = 1;",
            "extern \"C\" {}",
            "unsafe impl Send for S {}",
            "static X: u8 = 1;",
        ] {
            assert!(refusals(item)[0].contains("is for functions"), "{item}");
        }
        assert!(refusals("fn f();")[0].contains("needs a body"));
        assert!(refusals("fn f(&self) {}")[0].contains("no `self`"));
        assert!(refusals("fn f() -> Vec<Self> {}")[0].contains("outside of any `impl`"));
    }
}
