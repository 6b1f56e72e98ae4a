//! What `#[managed]` writes beside an `impl` block: a proxy, and a task for each method that it calls.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Error, FnArg, GenericArgument, ImplItem, ImplItemFn, ItemImpl, Path, PathArguments,
    ReceiverKind, Result, ReturnType, Safety, Signature, Token, Type, Visibility,
};

use crate::args::{self, Owner};
use crate::expand::{one_or_tuple, task};
use crate::signature::Function;

const KNOWN: &str = "known options: `proxy = Name`, `crate = path`";

/// What each proxy has besides.
const TAKEN: [&str; 3] = ["host", "proxy", "__made"];

/// What stands in the parentheses of `#[managed(…)]`.
#[derive(Default)]
pub(crate) struct Options {
    proxy: Option<Ident>,
    library: Option<Path>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Options::default();
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "proxy" => options.proxy = Some(input.parse()?),
                "crate" => options.library = Some(input.call(Path::parse_mod_style)?),
                other => return Err(Error::new(key.span(), format!("unknown option `{other}`; {KNOWN}"))),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

/// How a function of the block is called from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Makes an object; within a `Result` or an `Option` if `wrapped`.
    Constructor {
        wrapped: bool,
    },
    Reads,
    Changes,
}

struct Expansion<'a> {
    library: Path,
    proxy: Ident,
    /// The type, and its name.
    ty: &'a Type,
    name: &'a Ident,
}

pub(crate) fn managed(options: &Options, block: &ItemImpl) -> Result<TokenStream> {
    let name = name(block)?;
    let expansion = Expansion {
        library: options.library.clone().unwrap_or_else(|| syn::parse_quote!(::procpool)),
        proxy: options.proxy.clone().unwrap_or_else(|| format_ident!("{}Proxy", name.unraw())),
        ty: &block.self_ty,
        name,
    };
    let mut visibility = None;
    let (mut tasks, mut methods) = (TokenStream::new(), TokenStream::new());
    for item in &block.items {
        let ImplItem::Fn(function) = item else { continue };
        if matches!(function.vis, Visibility::Inherited) {
            continue;
        }
        let Some(role) = expansion.role(&function.sig)? else { continue };
        // The widest of them all is that of the proxy.
        if visibility.is_none_or(|widest| width(&function.vis) > width(widest)) {
            visibility = Some(&function.vis);
        }
        tasks.extend(expansion.task(function, role)?);
        methods.extend(expansion.method(function, role));
    }
    let Some(visibility) = visibility else {
        let message =
            "there is nothing to call from outside: make a method with `&self` or `&mut self` `pub`";
        return Err(Error::new_spanned(&block.self_ty, message));
    };
    let proxy = expansion.proxy(visibility);
    Ok(quote! {
        #block
        #proxy
    }
    .into_iter()
    .chain(expansion.calls(&tasks, &methods))
    .collect())
}

fn width(visibility: &Visibility) -> u8 {
    match visibility {
        Visibility::Public(_) => 2,
        Visibility::Restricted(restricted) if restricted.path.is_ident("crate") => 1,
        _ => 0,
    }
}

/// The name of the type, if the block is of a kind that can be called from outside.
fn name(block: &ItemImpl) -> Result<&Ident> {
    if let Some((of, _)) = &block.trait_ {
        return Err(Error::new_spanned(
            of,
            "`#[managed]` is for the type's own methods; write an `impl` without a trait that calls this one",
        ));
    }
    if !block.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &block.generics,
            "a managed type cannot be generic, because other processes find its methods by their names; write an `impl` \
             for each type that is wanted",
        ));
    }
    let mut ty = &*block.self_ty;
    // What a macro has put there.
    while let Type::Group(group) = ty {
        ty = &group.elem;
    }
    match ty {
        Type::Path(path) if path.qself.is_none() => Ok(&path.path.segments.last().expect("a path").ident),
        ty => Err(Error::new_spanned(ty, "only a struct or an enum of this crate can be managed")),
    }
}

impl Expansion<'_> {
    /// How a function is called from outside, if it is.
    fn role(&self, signature: &Signature) -> Result<Option<Role>> {
        let Some(role) = self.is_called(signature)? else { return Ok(None) };
        if let Some(word) = &signature.asyncness {
            let message = "a method that is called from outside is not async; it has a thread of its own";
            return Err(Error::new_spanned(word, message));
        }
        if !matches!(signature.safety, Safety::Default) {
            let message = "what is called from outside cannot keep the promises of an `unsafe fn`; call it in a safe method";
            return Err(Error::new_spanned(&signature.safety, message));
        }
        if TAKEN.iter().any(|name| signature.ident == name) {
            let message =
                format!("each proxy has a `{}` of its own; give this one another name", signature.ident);
            return Err(Error::new_spanned(&signature.ident, message));
        }
        Ok(Some(role))
    }

    fn is_called(&self, signature: &Signature) -> Result<Option<Role>> {
        let Some(FnArg::Receiver(receiver)) = signature.inputs.first() else {
            return Ok(self.constructs(&signature.output));
        };
        match &receiver.kind {
            ReceiverKind::Reference(_, _, Some(_)) => Ok(Some(Role::Changes)),
            ReceiverKind::Reference(_, _, None) => Ok(Some(Role::Reads)),
            _ => Err(Error::new_spanned(
                receiver,
                "the object stays where it is kept: take `&self` or `&mut self`, or put the method into another `impl`",
            )),
        }
    }

    fn constructs(&self, output: &ReturnType) -> Option<Role> {
        let ReturnType::Type(_, ty) = output else { return None };
        if self.is_own(ty) {
            return Some(Role::Constructor { wrapped: false });
        }
        let Type::Path(path) = &**ty else { return None };
        let last = path.path.segments.last()?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        let first = matches!(arguments.args.first()?, GenericArgument::Type(first) if self.is_own(first));
        (first && (last.ident == "Result" || last.ident == "Option"))
            .then_some(Role::Constructor { wrapped: true })
    }

    fn is_own(&self, ty: &Type) -> bool {
        let written = ty.to_token_stream().to_string();
        written == "Self" || written == self.ty.to_token_stream().to_string()
    }

    /// The types of the arguments, in which nothing is called `Self`.
    fn arguments(&self, signature: &Signature) -> Vec<TokenStream> {
        let typed = signature.inputs.iter().filter_map(|argument| match argument {
            FnArg::Typed(argument) => Some(renamed(argument.ty.to_token_stream(), &self.ty)),
            FnArg::Receiver(_) => None,
        });
        typed.collect()
    }

    /// What is returned to who calls from outside.
    fn output(&self, signature: &Signature, role: Role) -> TokenStream {
        let ReturnType::Type(_, ty) = &signature.output else { return quote!(()) };
        match role {
            Role::Constructor { wrapped: false } => self.proxy.to_token_stream(),
            Role::Constructor { wrapped: true } => {
                let mut ty = ty.clone();
                if let Type::Path(path) = &mut *ty
                    && let Some(last) = path.path.segments.last_mut()
                    && let PathArguments::AngleBracketed(arguments) = &mut last.arguments
                    && let Some(GenericArgument::Type(first)) = arguments.args.first_mut()
                {
                    let proxy = &self.proxy;
                    *first = syn::parse_quote!(#proxy);
                }
                renamed(ty.to_token_stream(), &self.ty)
            }
            Role::Reads | Role::Changes => renamed(ty.to_token_stream(), &self.ty),
        }
    }

    /// The task that calls the function where the object is.
    fn task(&self, function: &ImplItemFn, role: Role) -> Result<TokenStream> {
        let Expansion { library, proxy, ty, name } = self;
        let signature = &function.sig;
        let called = &signature.ident;
        let types = self.arguments(signature);
        let values = values(types.len());
        let managed = quote!(#library::__private::managed);
        let (fits, body) = match role {
            Role::Constructor { wrapped } => {
                let fits = quote!(#managed::is::<#managed::Root>);
                let made = quote!(<#ty>::#called(#(#values),*));
                let body =
                    if wrapped { quote!(#made.map(#proxy::__made)) } else { quote!(#proxy::__made(#made)) };
                (fits, body)
            }
            Role::Reads | Role::Changes => {
                let with = if role == Role::Reads { quote!(with_ref) } else { quote!(with_mut) };
                let fits = quote!(#managed::is::<#ty>);
                let body = quote!(#managed::#with(|__procpool_object| <#ty>::#called(__procpool_object, #(#values),*)));
                (fits, body)
            }
        };
        let output = self.output(signature, role);
        let lifetimes = &signature.generics;
        let fn_token = signature.fn_token;
        let task_name = task_name(called);
        let head = quote!(#fn_token #task_name #lifetimes (#(#values: #types),*) -> #output);
        let mut head: Signature = syn::parse2(head)?;
        head.paren_token = signature.paren_token;
        let task_function = Function {
            attributes: attributes(&function.attrs),
            visibility: Visibility::Inherited,
            signature: head,
            body: TokenTree::Group(Group::new(Delimiter::Brace, body)),
        };
        let options = args::Options {
            library: Some(library.clone()),
            owner: Some(Owner { shown: format!("{}::{}", name.unraw(), called.unraw()), fits }),
            ..args::Options::default()
        };
        task(&options, &task_function)
    }

    /// What calls it from outside.
    fn method(&self, function: &ImplItemFn, role: Role) -> TokenStream {
        let library = &self.library;
        let ImplItemFn { attrs, vis, sig, .. } = function;
        let called = &sig.ident;
        let lifetimes = &sig.generics;
        let types = self.arguments(sig);
        let values = values(types.len());
        let passed = one_or_tuple(values.iter(), Span::mixed_site());
        let output = self.output(sig, role);
        let shown = attrs.iter().filter(|attribute| {
            ["doc", "cfg", "cfg_attr", "deprecated", "allow"]
                .iter()
                .any(|name| attribute.path().is_ident(name))
        });
        let manager = Ident::new("_manager", Span::mixed_site());
        let task_name = task_name(called);
        let (receiver, called_on) = match role {
            Role::Constructor { .. } => (quote!(#manager: &#library::Manager), quote!(#manager.root())),
            Role::Reads | Role::Changes => (quote!(&self), quote!(self.0)),
        };
        quote! {
            #(#shown)*
            #[allow(dead_code, missing_docs, unreachable_pub, clippy::new_ret_no_self, clippy::should_implement_trait)]
            #vis fn #called #lifetimes (#receiver, #(#values: #types),*) -> #library::MethodCall<#output> {
                #called_on.call(#task_name, &#passed)
            }
        }
    }

    fn proxy(&self, visibility: &Visibility) -> TokenStream {
        let Expansion { library, proxy, ty, name } = self;
        let serde = quote!(#library::__private::serde);
        let shown = format!("Stands for a [`{name}`] that another process keeps, or this one.");
        quote! {
            #[doc = #shown]
            #[allow(private_interfaces, unreachable_pub, dead_code)]
            #[derive(::core::clone::Clone, ::core::fmt::Debug, ::core::cmp::PartialEq, ::core::cmp::Eq)]
            #visibility struct #proxy(#library::Proxy<#ty>);

            impl #serde::Serialize for #proxy {
                fn serialize<__S: #serde::Serializer>(
                    &self,
                    _serializer: __S,
                ) -> ::core::result::Result<__S::Ok, __S::Error> {
                    #serde::Serialize::serialize(&self.0, _serializer)
                }
            }

            impl<'de> #serde::Deserialize<'de> for #proxy {
                fn deserialize<__D: #serde::Deserializer<'de>>(
                    _deserializer: __D,
                ) -> ::core::result::Result<Self, __D::Error> {
                    <#library::Proxy<#ty> as #serde::Deserialize<'de>>::deserialize(_deserializer).map(Self)
                }
            }

            #[allow(private_interfaces, unreachable_pub, dead_code)]
            impl #proxy {
                /// Has this process keep a value, on threads of its own, as long as there are proxies of it.
                ///
                /// # Errors
                ///
                /// If there is no room for descriptors or a thread.
                pub fn host(_value: #ty) -> ::std::io::Result<Self> {
                    #library::Proxy::host(_value).map(Self)
                }

                /// What all proxies have in common.
                pub fn proxy(&self) -> &#library::Proxy<#ty> {
                    &self.0
                }

                #[doc(hidden)]
                fn __made(_value: #ty) -> Self {
                    Self::host(_value).expect("room for one more object")
                }
            }
        }
    }

    /// The tasks, where nobody sees them, and the methods that name them.
    fn calls(&self, tasks: &TokenStream, methods: &TokenStream) -> TokenStream {
        let proxy = &self.proxy;
        quote! {
            const _: () = {
                #tasks

                #[allow(private_interfaces)]
                impl #proxy {
                    #methods
                }
            };
        }
    }
}

/// The type with another name for `Self`.
fn renamed(tokens: TokenStream, ty: &impl ToTokens) -> TokenStream {
    let renamed = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(name) if name == "Self" => ty.to_token_stream(),
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), self::renamed(group.stream(), ty));
            inner.set_span(group.span());
            TokenTree::Group(inner).into()
        }
        token => token.into(),
    });
    renamed.collect()
}

fn values(count: usize) -> Vec<Ident> {
    (0..count).map(|at| Ident::new(&format!("__procpool_argument_{at}"), Span::mixed_site())).collect()
}

/// A name that nothing else has where the task stands.
fn task_name(method: &Ident) -> Ident {
    format_ident!("__procpool_method_{}", method.unraw(), span = method.span())
}

/// Those that say whether there is such a function at all; that it is deprecated is for who calls it from outside.
fn attributes(attributes: &[Attribute]) -> Vec<Attribute> {
    let conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned();
    conditions.chain([syn::parse_quote!(#[allow(deprecated)])]).collect()
}
