//! A hash that stays the same over releases and platforms (FNV-1a, 128 bits): it tells definitions and
//! runs apart, and keeps nobody from making two that are equal.

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// The hash of texts in their order.
pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> u128 {
    let mut hash = OFFSET;
    let mut add = |byte: u8| {
        hash ^= u128::from(byte);
        hash = hash.wrapping_mul(PRIME);
    };
    for text in texts {
        text.bytes().for_each(&mut add);
        // No text has this byte: ("ab", "c") is not ("a", "bc").
        add(0xff);
    }
    hash
}

/// 32 hexadecimal digits.
pub fn digits(hash: u128) -> String {
    format!("{hash:032x}")
}

/// In the form of a UUID (RFC 9562, version 8: made in a way of one's own).
pub fn uuid(hash: u128) -> String {
    let marked = (hash & !(0xf << 76) & !(0x3 << 62)) | (0x8 << 76) | (0x2 << 62);
    let digits = digits(marked);
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_specification() {
        // Test vectors of draft-eastlake-fnv, before the separator.
        let bytes = |text: &str| {
            text.bytes().fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
        };
        assert_eq!(digits(bytes("")), "6c62272e07bb014262b821756295c58d");
        assert_eq!(digits(bytes("a")), "d228cb696f1a8caf78912b704e4a8964");
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
        let uuid = uuid(of(["x"]));
        assert_eq!((uuid.len(), uuid.as_bytes()[14], uuid.matches('-').count()), (36, b'8', 4));
    }
}
