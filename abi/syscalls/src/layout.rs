//! How the structures that cross the boundary are declared: C layout, every byte named, the size asserted.
//!
//! No structure has implicit padding, so each converts to and from bytes without `unsafe` and leaks nothing.

macro_rules! abi_struct {
    ($($(#[$meta:meta])* pub struct $name:ident: $size:literal {
        $($(#[$field_meta:meta])* $visibility:vis $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_meta])* $visibility $field: $type,)*
        }

        const _: () = assert!(core::mem::size_of::<$name>() == $size, "the size Linux gives it");

        impl $name {
            /// All bytes zero.
            pub fn zeroed() -> Self {
                zerocopy::FromZeros::new_zeroed()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::zeroed()
            }
        }
    )*};
}

pub(crate) use abi_struct;
