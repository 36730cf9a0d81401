use std::net::{Ipv4Addr, Ipv6Addr};

use super::Width;

/// A value as it stands in a chunk's body: network byte order, no padding.
pub(crate) trait Wire<'a>: Sized {
    /// Octets of the body.
    const WIDTH: Width;

    /// Reads the whole body; `None` if its width is wrong.
    fn read(body: &'a [u8]) -> Option<Self>;

    /// Gives the body to `put`.
    fn write<R>(&self, put: impl FnOnce(&[u8]) -> R) -> R;
}

macro_rules! fixed {
    ($($ty:ty: $len:literal, $from:expr, $to:expr;)*) => {$(
        impl Wire<'_> for $ty {
            const WIDTH: Width = Width::Fixed($len);

            #[inline]
            fn read(body: &[u8]) -> Option<Self> {
                <[u8; $len]>::try_from(body).ok().map($from)
            }

            #[inline]
            fn write<R>(&self, put: impl FnOnce(&[u8]) -> R) -> R {
                put(&$to(*self))
            }
        }
    )*};
}

fixed! {
    u8: 1, u8::from_be_bytes, u8::to_be_bytes;
    u16: 2, u16::from_be_bytes, u16::to_be_bytes;
    u32: 4, u32::from_be_bytes, u32::to_be_bytes;
    Ipv4Addr: 4, Ipv4Addr::from, |address: Ipv4Addr| address.octets();
    Ipv6Addr: 16, Ipv6Addr::from, |address: Ipv6Addr| address.octets();
}

/// A MAC address in the low 48 bits. Rev. 37 gives it eight octets; six are read too, eight are written.
#[derive(Clone, Copy)]
pub(crate) struct Mac(pub(crate) u64);

impl Wire<'_> for Mac {
    const WIDTH: Width = Width::Mac;

    fn read(body: &[u8]) -> Option<Self> {
        match body.len() {
            6 | 8 => Some(Mac(body.iter().fold(0, |mac, &octet| mac << 8 | u64::from(octet)))),
            _ => None,
        }
    }

    fn write<R>(&self, put: impl FnOnce(&[u8]) -> R) -> R {
        put(&self.0.to_be_bytes())
    }
}

impl<'a> Wire<'a> for &'a [u8] {
    const WIDTH: Width = Width::Octets;

    #[inline]
    fn read(body: &'a [u8]) -> Option<Self> {
        Some(body)
    }

    #[inline]
    fn write<R>(&self, put: impl FnOnce(&[u8]) -> R) -> R {
        put(self)
    }
}
