//! Parts of times as text, as Postgres' output functions write them.

use std::fmt::Write;

/// Seconds east of Greenwich: `+01`, `-03:30`, `+00:53:28`.
pub fn zone_offset(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let size = seconds.unsigned_abs();
    let mut text = format!("{sign}{:02}", size / 3600);
    if size % 3600 != 0 {
        let _ = write!(text, ":{:02}", size / 60 % 60);
    }
    if size % 60 != 0 {
        let _ = write!(text, ":{:02}", size % 60);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::zone_offset;

    #[test]
    fn offsets() {
        assert_eq!(
            [zone_offset(0), zone_offset(-12_600), zone_offset(3_208)],
            ["+00", "-03:30", "+00:53:28"]
        );
    }
}
