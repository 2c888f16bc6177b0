//! What an interceptor implements, what it is told, and the macros that make it a plugin.

use crate::{Error, Record, Verdict};

/// What an instance serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The attachment's name.
    pub name: String,
}

/// Whose records a batch holds, and where they go to or come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// As Kafka writes it: `User:alice`; `User:ANONYMOUS` for whoever has not said who they are.
    pub principal: String,
    /// What the client calls itself; anybody may say anything.
    pub client_id: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

/// What became of a batch that went through `on_send`, of this instance or of another one of the attachment. It comes
/// after the append is durable, or refused, and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// How many records the client sent in the batch.
    pub record_count: u32,
    /// The offset of the batch's first record, or the name of Kafka's error: `MESSAGE_TOO_LARGE`.
    pub outcome: Result<u64, String>,
}

/// Judges the records that pass between clients and topics, in the life cycle of Kafka's own interceptors.
///
/// Only `configure` must be there: whatever is left out lets all records pass. An [`Error`], whatever its reason,
/// is a fault of the whole batch, and the attachment's policy says what becomes of it. To refuse a record there
/// is [`Verdict::reject`].
///
/// An attachment has several instances, each with its own memory: what they are to count together goes to
/// [`crate::count`].
pub trait Interceptor: Sized + 'static {
    /// Runs once, before anything else. An error means: not with this configuration.
    fn configure(attachment: &Attachment) -> Result<Self, Error>;

    /// Judges a record that a client sends, before it is appended. Doing nothing with the verdict keeps it.
    fn on_send(&mut self, origin: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        let _ = (origin, record, verdict);
        Ok(())
    }

    /// Judges a record on its way to a client that fetched it. Doing nothing with the verdict keeps it.
    fn on_consume(&mut self, origin: &Origin, record: Record<'_>, verdict: Verdict<'_>) -> Result<(), Error> {
        let _ = (origin, record, verdict);
        Ok(())
    }

    /// What became of a batch that passed `on_send`, in the order in which that was known.
    fn on_acknowledgement(&mut self, acknowledgement: &Acknowledgement) {
        let _ = acknowledgement;
    }

    /// The instance goes away. Called where that is possible: not after a panic, nor when the broker is killed.
    fn close(&mut self) {}
}

/// Makes the crate a plugin that intercepts, in the fast flat world: `interceptor!(MyInterceptor)` for a type that
/// implements [`Interceptor`].
#[macro_export]
macro_rules! interceptor {
    ($interceptor:ty) => {
        #[doc(hidden)]
        pub struct __TidemillPlugin;
        impl $crate::bindings::interceptor_flat::Guest for __TidemillPlugin {
            $crate::__interceptor_life!($interceptor);
            fn on_send(
                origin: $crate::bindings::interception::Origin,
                batch: ::std::vec::Vec<u8>,
            ) -> ::std::result::Result<::std::vec::Vec<u8>, ::std::string::String> {
                $crate::runtime::on_send_flat::<$interceptor>(origin, &batch)
            }
            fn on_consume(
                origin: $crate::bindings::interception::Origin,
                batch: ::std::vec::Vec<u8>,
            ) -> ::std::result::Result<::std::vec::Vec<u8>, ::std::string::String> {
                $crate::runtime::on_consume_flat::<$interceptor>(origin, &batch)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::export_interceptor_flat!(
            __TidemillPlugin with_types_in $crate::bindings::interceptor_flat_world
        );
    };
}

/// Makes the crate a plugin that intercepts, in the typed world: takes what [`interceptor!`] takes.
#[macro_export]
macro_rules! interceptor_typed {
    ($interceptor:ty) => {
        #[doc(hidden)]
        pub struct __TidemillPlugin;
        impl $crate::bindings::interceptor_typed::Guest for __TidemillPlugin {
            $crate::__interceptor_life!($interceptor);
            fn on_send(
                origin: $crate::bindings::interception::Origin,
                batch: ::std::vec::Vec<$crate::bindings::interceptor_typed::PassingRecord>,
            ) -> ::std::result::Result<
                ::std::vec::Vec<$crate::bindings::interceptor_typed::Verdict>,
                ::std::string::String,
            > {
                $crate::runtime::on_send_typed::<$interceptor>(origin, &batch)
            }
            fn on_consume(
                origin: $crate::bindings::interception::Origin,
                batch: ::std::vec::Vec<$crate::bindings::interceptor_typed::PassingRecord>,
            ) -> ::std::result::Result<
                ::std::vec::Vec<$crate::bindings::interceptor_typed::Verdict>,
                ::std::string::String,
            > {
                $crate::runtime::on_consume_typed::<$interceptor>(origin, &batch)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::export_interceptor_typed!(
            __TidemillPlugin with_types_in $crate::bindings::interceptor_typed_world
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __interceptor_life {
    ($interceptor:ty) => {
        fn configure(
            attachment: $crate::bindings::interception::Attachment,
        ) -> ::std::result::Result<(), ::std::string::String> {
            $crate::runtime::configure::<$interceptor>(attachment)
        }
        fn on_acknowledgement(
            acknowledgements: ::std::vec::Vec<$crate::bindings::interception::Acknowledgement>,
        ) {
            $crate::runtime::on_acknowledgement::<$interceptor>(acknowledgements);
        }
        fn close() {
            $crate::runtime::close::<$interceptor>();
        }
    };
}
