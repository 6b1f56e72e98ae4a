//! What `#[task]` writes in place of the function.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{FnArg, Lifetime, Path, Result, ReturnType, Signature};

use crate::args::Options;
use crate::attributes::Attributes;
use crate::lifetimes;
use crate::signature::{Argument, Decoded, Function};

/// The value that stands for the function, its type, and the block with all that must not be seen from outside.
///
/// The value is a constant because clippy takes a call of a unit struct for a constructor without effect.
pub(crate) fn task(options: &Options, function: &Function) -> Result<TokenStream> {
    let arguments = function.arguments()?;
    let Function { attributes, visibility, signature, body } = function;
    let name = &signature.ident;
    let Attributes { cfg, value: on_value, body: on_body } = Attributes::sorted(attributes, signature);
    let library = options.library.clone().unwrap_or_else(|| syn::parse_quote!(::procpool));
    // A span of the user's, or rustc would take the value for a macro's own affair and not say that it is unused.
    let constant = quote_spanned!(signature.fn_token.span=> const #name: #name = #name {};);
    let entry = Expansion { options, signature, arguments: &arguments, library }.entry();
    Ok(quote! {
        #(#cfg)*
        #(#on_value)*
        #[allow(non_upper_case_globals)]
        #visibility #constant

        #(#cfg)*
        #[doc(hidden)]
        #[allow(dead_code, non_camel_case_types, unreachable_pub)]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #visibility struct #name {}

        #(#cfg)*
        const _: () = {
            // The function is an associated one, so the name in its body, and in a `submit` of itself, is the value.
            struct __ProcpoolBody;

            #[allow(clippy::missing_const_for_fn, clippy::new_ret_no_self)]
            impl __ProcpoolBody {
                #(#on_body)*
                #signature #body
            }

            #entry
        };
    })
}

struct Expansion<'a> {
    options: &'a Options,
    signature: &'a Signature,
    arguments: &'a [Argument<'a>],
    library: Path,
}

impl Expansion<'_> {
    fn entry(&self) -> TokenStream {
        let Expansion { options, signature, library, .. } = self;
        let private = quote!(#library::__private);
        let name = &signature.ident;
        let registered = match &options.name {
            Some(name) => quote!(#name),
            None => {
                let own = || name.unraw().to_string();
                let name = options.owner.as_ref().map_or_else(own, |owner| owner.shown.clone());
                quote!(::core::concat!(::core::module_path!(), "::", #name))
            }
        };
        let named = options.name.is_some();
        let written = written(signature);
        let timeout = option(options.timeout_ms);
        let retries = option(options.retries);
        let on_cancel = match options.on_cancel {
            None => quote!(::core::option::Option::None),
            Some(on_cancel) => {
                let written = format_ident!("{on_cancel:?}");
                quote!(::core::option::Option::Some(#private::WrittenOnCancel::#written))
            }
        };
        let method = option(options.owner.as_ref().map(|owner| &owner.fits));
        let passed = self.passed();
        let output = self.output();
        let run = self.run(&private);
        let (target, call) = self.call();
        quote! {
            #[#private::linkme::distributed_slice(#private::TASKS)]
            #[linkme(crate = #private::linkme)]
            static __PROCPOOL_TASK: #private::Entry = #private::Entry {
                name: <#name as #library::Task>::NAME,
                named: #named,
                signature: #written,
                file: ::core::file!(),
                line: ::core::line!(),
                column: ::core::column!(),
                run: __procpool_run,
                timeout_ms: #timeout,
                on_cancel: #on_cancel,
                retries: #retries,
                fallible: {
                    #[allow(unused_imports)]
                    use #private::ReturnsAnything as _;
                    #[allow(deprecated)]
                    const A_RESULT: bool = #private::Returns::<#output>::A_RESULT;
                    A_RESULT
                },
                method: #method,
                number: #private::Numbered::new(),
            };

            #run

            #[allow(deprecated)]
            impl #library::Task for #name {
                type Args<'__args> = #passed;
                type Output = #output;
                const NAME: &'static str = #registered;
                const ENTRY: &'static #private::Entry = &__PROCPOOL_TASK;
            }

            #[allow(deprecated, clippy::type_complexity)]
            impl ::core::ops::Deref for #name {
                type Target = #target;
                fn deref(&self) -> &Self::Target {
                    const CALL: #target = #call;
                    &CALL
                }
            }
        }
    }

    /// The arguments as the caller passes them.
    fn passed(&self) -> TokenStream {
        let lifetime = Lifetime::new("'__args", Span::mixed_site());
        let types = self.arguments.iter().map(|argument| lifetimes::renamed(argument.written, &lifetime));
        one_or_tuple(types, self.blamed())
    }

    /// Where rustc shall point if the arguments cannot be encoded or decoded.
    ///
    /// It judges a tuple as a whole: point at the one argument that can be at fault, or at all of them.
    fn blamed(&self) -> Span {
        let mut suspects = self.arguments.iter().filter(|argument| !argument.is_plain());
        match (suspects.next(), suspects.next()) {
            (Some(suspect), None) => suspect.span(),
            _ => self.signature.paren_token.span.join(),
        }
    }

    fn output(&self) -> TokenStream {
        match &self.signature.output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, ty) => quote!(#ty),
        }
    }

    /// The function that the worker calls: decodes, lends what is to be lent, runs, encodes.
    fn run(&self, private: &TokenStream) -> TokenStream {
        let name = &self.signature.ident;
        let borrows = self.arguments.iter().any(|argument| lifetimes::occur(argument.written));
        let (generics, lifetime) = if borrows {
            (quote!(<'__call>), Lifetime::new("'__call", Span::mixed_site()))
        } else {
            (quote!(), Lifetime::new("'_", Span::mixed_site()))
        };
        let values = self.values();
        let blamed = Span::mixed_site().located_at(self.blamed());
        let pattern = one_or_tuple(values.iter(), blamed);
        let decoded = self.arguments.iter().map(|argument| {
            let span = argument.span();
            match argument.decoded {
                Decoded::Itself => lifetimes::renamed(argument.written, &lifetime),
                Decoded::Referent(ty) => lifetimes::renamed(ty, &lifetime),
                Decoded::Elements(ty) => {
                    let ty = lifetimes::renamed(ty, &lifetime);
                    quote_spanned!(span=> ::std::vec::Vec<#ty>)
                }
                Decoded::Counterpart(ty) => quote_spanned!(span=> <#ty as ::std::borrow::ToOwned>::Owned),
            }
        });
        let decoded = one_or_tuple(decoded, blamed);
        let lent = values
            .iter()
            .zip(self.arguments)
            .map(|(value, argument)| if argument.is_lent() { quote!(&#value) } else { quote!(#value) });
        let mut called = quote!(__ProcpoolBody::#name(#(#lent),*));
        if self.signature.asyncness.is_some() {
            called = quote!(#private::block_on(#called));
        }
        quote! {
            #[allow(deprecated)]
            fn __procpool_run #generics(__procpool_call: #private::Call<'_, #lifetime>) -> #private::Reply {
                __procpool_call.run_as::<#name, #decoded>(|#pattern| #called)
            }
        }
    }

    /// What the value derefs to, as a type and as an expression.
    fn call(&self) -> (TokenStream, TokenStream) {
        let name = &self.signature.ident;
        let output = self.output();
        if self.signature.asyncness.is_none() {
            let lifetimes = &self.signature.generics.params;
            let arguments = self.arguments.iter().map(|argument| argument.written);
            let bound = if lifetimes.is_empty() { quote!() } else { quote!(for<#lifetimes>) };
            return (quote!(#bound fn(#(#arguments),*) -> #output), quote!(__ProcpoolBody::#name));
        }
        let borrows = self.arguments.iter().any(|argument| lifetimes::occur(argument.written));
        let (bound, lifetime) = if borrows {
            (quote!(for<'__call>), Lifetime::new("'__call", Span::mixed_site()))
        } else {
            (quote!(), Lifetime::new("'static", Span::mixed_site()))
        };
        let arguments = self.arguments.iter().map(|argument| lifetimes::renamed(argument.written, &lifetime));
        let future = quote!(dyn ::core::future::Future<Output = #output> + #lifetime);
        let values = self.values();
        (
            quote!(#bound fn(#(#arguments),*) -> ::core::pin::Pin<::std::boxed::Box<#future>>),
            quote!(|#(#values),*| ::std::boxed::Box::pin(__ProcpoolBody::#name(#(#values),*))),
        )
    }

    fn values(&self) -> Vec<syn::Ident> {
        (0..self.arguments.len())
            .map(|at| format_ident!("__procpool_argument_{at}", span = Span::mixed_site()))
            .collect()
    }
}

/// `()` for none, the item itself for one, a tuple for several.
pub(crate) fn one_or_tuple<T: ToTokens>(items: impl Iterator<Item = T>, span: Span) -> TokenStream {
    let items: Vec<_> = items.collect();
    match items.as_slice() {
        [item] => quote!(#item),
        items => quote_spanned!(span=> (#(#items),*)),
    }
}

fn option(value: Option<impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

/// The signature on one line, without the attributes of its arguments.
pub(crate) fn written(signature: &Signature) -> String {
    let mut signature = signature.clone();
    for argument in &mut signature.inputs {
        if let FnArg::Typed(argument) = argument {
            argument.attrs.clear();
        }
    }
    let text = quote!(#signature).to_string();
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // Printed tokens are spaced out more than people write them.
    for (spaced, usual) in [
        (" :", ":"),
        (":: ", "::"),
        ("& ", "&"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" ;", ";"),
    ] {
        text = text.replace(spaced, usual);
    }
    text
}
