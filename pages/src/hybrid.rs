//! The hybrid of run lengths and bit packing ("RLE = 3" of `Encodings.md`), of levels and of references to
//! dictionaries. The `parquet` crate's own is not public, except with all of its experiments.

use super::{Result, corrupt};

/// Values that are packed together.
const GROUP: usize = 8;
/// Groups of one bit-packed run: its length is a single byte, as other writers have it.
const MAX_GROUPS: usize = 63;
/// Bits that a value has at most.
const MAX_WIDTH: usize = 32;

/// The first `count` values of `bits` bits each.
pub fn decode(mut bytes: &[u8], bits: u8, count: usize) -> Result<Vec<u32>> {
    let width = usize::from(bits);
    if width > MAX_WIDTH {
        return Err(corrupt("values of more than 32 bits"));
    }
    let mut values = Vec::with_capacity(count + GROUP);
    while values.len() < count {
        let header = take_varint(&mut bytes)?;
        let length = (header >> 1) as usize;
        if header & 1 == 1 {
            // The last run may go on beyond the values, and its bytes may end before it does.
            let groups = length.min((count - values.len()).div_ceil(GROUP));
            let packed = bytes.get(..bytes.len().min(groups.saturating_mul(width))).unwrap_or_default();
            unpack(packed, width, groups, &mut values)?;
            bytes = bytes.get(packed.len()..).unwrap_or_default();
        } else {
            let value =
                bytes.split_off(..width.div_ceil(8)).ok_or_else(|| corrupt("a run without a value"))?;
            let mut word = [0; 4];
            word.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
            let value = u32::from_le_bytes(word);
            if u64::from(value) >> width > 0 {
                return Err(corrupt("a value of too many bits"));
            }
            values.resize(values.len() + length.min(count - values.len()), value);
        }
        if length == 0 {
            return Err(corrupt("an empty run"));
        }
    }
    values.truncate(count);
    Ok(values)
}

fn unpack(packed: &[u8], width: usize, groups: usize, values: &mut Vec<u32>) -> Result<()> {
    let mask = (1_u64 << width) - 1;
    for group in 0..groups {
        let start = group * width;
        let bytes = packed.get(start..packed.len().min(start + width)).unwrap_or_default();
        if bytes.is_empty() && width > 0 {
            return Err(corrupt("values are missing"));
        }
        // Every value is within the eight bytes from its first one.
        let mut padded = [0; MAX_WIDTH + 8];
        padded.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        for number in 0..GROUP {
            let bit = number * width;
            let word = padded.get(bit / 8..).and_then(|from| from.first_chunk::<8>()).copied();
            let word = u64::from_le_bytes(word.unwrap_or_default());
            values.push(((word >> (bit % 8)) & mask) as u32);
        }
    }
    Ok(())
}

/// Appends `values`, of `bits` bits each.
pub fn encode(values: &[u32], bits: u8, out: &mut Vec<u8>) {
    let width = usize::from(bits);
    let (mut at, mut packed_from) = (0, 0);
    while let Some(group) = values.get(at..).filter(|rest| rest.len() >= GROUP) {
        let first = group.first().copied().unwrap_or_default();
        if group.iter().take(GROUP).any(|value| *value != first) {
            at += GROUP;
            continue;
        }
        let run = group.iter().take_while(|value| **value == first).count();
        pack(values.get(packed_from..at).unwrap_or_default(), width, out);
        put_varint((run as u64) << 1, out);
        out.extend(first.to_le_bytes().iter().take(width.div_ceil(8)));
        at += run;
        packed_from = at;
    }
    pack(values.get(packed_from..).unwrap_or_default(), width, out);
}

/// Bit-packed runs; the last group is filled with zeros.
fn pack(values: &[u32], width: usize, out: &mut Vec<u8>) {
    for run in values.chunks(MAX_GROUPS * GROUP) {
        put_varint((run.len().div_ceil(GROUP) as u64) << 1 | 1, out);
        for group in run.chunks(GROUP) {
            let (mut word, mut filled) = (0_u64, 0);
            let missing = std::iter::repeat_n(0, GROUP - group.len());
            for value in group.iter().copied().chain(missing) {
                word |= u64::from(value) << filled;
                filled += width;
                if filled >= 32 {
                    out.extend_from_slice(&(word as u32).to_le_bytes());
                    word >>= 32;
                    filled -= 32;
                }
            }
            out.extend(word.to_le_bytes().iter().take(filled / 8));
        }
    }
}

/// ULEB-128, as lengths of runs are written.
pub fn take_varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.split_off_first().ok_or_else(|| corrupt("a number without an end"))?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(corrupt("a number of more than 64 bits"))
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut random = StdRng::seed_from_u64(1);
        for bits in 0..=32_u8 {
            for _ in 0..20 {
                let most = ((1_u64 << bits) - 1) as u32;
                let mut values = Vec::new();
                while values.len() < random.random_range(1..2_000) {
                    let run = if random.random_bool(0.5) { 1 } else { random.random_range(1..40) };
                    values.extend(std::iter::repeat_n(random.random_range(0..=most), run));
                }
                let mut bytes = Vec::new();
                encode(&values, bits, &mut bytes);
                assert_eq!(decode(&bytes, bits, values.len()).unwrap(), values, "{bits} bits");
            }
        }
    }

    /// The example of `Encodings.md`: 0 to 7 with three bits each.
    #[test]
    fn bits_are_packed_as_the_format_has_them() {
        let packed = [0b0000_0011, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        assert_eq!(decode(&packed, 3, 8).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
        let mut bytes = Vec::new();
        encode(&[0, 1, 2, 3, 4, 5, 6, 7], 3, &mut bytes);
        assert_eq!(bytes, packed);
    }

    #[test]
    fn runs_are_short() {
        let mut bytes = Vec::new();
        encode(&[1; 20_000], 1, &mut bytes);
        assert_eq!(bytes, [0xc0, 0xb8, 0x02, 1]);
    }

    #[test]
    fn bad_bytes_are_refused() {
        for bytes in [&[][..], &[0x80], &[0x03], &[0x04], &[0x00, 0x00], &[0x01], &[0x10, 0x08]] {
            assert!(decode(bytes, 3, 8).is_err(), "{bytes:?}");
        }
        assert!(decode(&[0x02, 0, 0, 0, 0], 33, 1).is_err());
    }
}
