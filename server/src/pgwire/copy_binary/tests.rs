use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use auric_sql::CommandTag;
use bytes::Bytes;

use super::*;

#[derive(Debug)]
struct Target(Vec<OutputColumn>);

#[async_trait::async_trait]
impl CopyIn for Target {
    fn table(&self) -> &str {
        "t"
    }
    fn columns(&self) -> &[OutputColumn] {
        &self.0
    }
    fn is_binary(&self) -> bool {
        true
    }
    async fn write(&mut self, _: Bytes) -> Result<()> {
        Ok(())
    }
    async fn write_rows(&mut self, _: RecordBatch) -> Result<()> {
        Ok(())
    }
    async fn finish(self: Box<Self>) -> Result<CommandTag> {
        Ok(CommandTag::Select)
    }
    async fn abort(self: Box<Self>) {}
}

fn input() -> BinaryInput {
    let column = |name: &str, pg_type| OutputColumn {
        name: name.into(),
        pg_type,
        type_modifier: -1,
        quotient_scale: None,
        origin: None,
    };
    BinaryInput::new(&Target(vec![
        column("a", Type::INT4),
        column("b", Type::TEXT),
        column("c", Type::TIMESTAMPTZ),
        column("d", Type::NUMERIC),
    ]))
}

fn field(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as i32).to_be_bytes(), bytes].concat()
}

/// `1, 'x', 2000-01-01 00:00:00.000001, 1` or, with a NULL in it, `2, NULL, …`.
fn row(a: i32, b: Option<&str>) -> Vec<u8> {
    let b = b.map_or((-1_i32).to_be_bytes().to_vec(), |b| field(b.as_bytes()));
    let one = [0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    [vec![0, 4], field(&a.to_be_bytes()), b, field(&1_i64.to_be_bytes()), field(&one)].concat()
}

fn whole() -> Vec<u8> {
    [HEADER.to_vec(), row(1, Some("häß")), row(2, None), vec![255, 255]].concat()
}

/// Feeds the data in pieces of `size` bytes.
fn read(data: &[u8], size: usize) -> Result<Vec<RecordBatch>> {
    let mut input = input();
    let mut batches = Vec::new();
    for piece in data.chunks(size) {
        input.push(piece);
        while let Some(batch) = input.next_batch()? {
            batches.push(batch);
        }
    }
    batches.extend(input.finish()?);
    Ok(batches)
}

fn code(data: &[u8]) -> String {
    let error = read(data, 1024).unwrap_err();
    format!("{} {}", error.code, error.message)
}

#[test]
fn rows_in_any_pieces() {
    for size in 1..whole().len() {
        let batches = read(&whole(), size).unwrap();
        assert_eq!(batches.len(), 1, "pieces of {size}");
        let batch = &batches[0];
        assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[1, 2]);
        let texts = batch.column(1).as_string::<i32>();
        assert_eq!((texts.value(0), texts.is_null(1)), ("häß", true));
        let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
        assert_eq!(times.value(0), 946_684_800_000_001);
        assert_eq!(batch.column(3).as_string::<i32>().value(1), "1");
    }
}

#[test]
fn the_trailer_may_be_missing() {
    let data = whole();
    assert_eq!(read(&data[..data.len() - 2], 7).unwrap()[0].num_rows(), 2);
    assert!(read(HEADER, 7).unwrap().is_empty());
}

#[test]
fn cut_off_anywhere_else_is_an_error() {
    let data = whole();
    let borders = [HEADER.len(), HEADER.len() + row(1, Some("häß")).len(), data.len() - 2];
    for length in 0..data.len() {
        if !borders.contains(&length) {
            assert_eq!(read(&data[..length], 16).unwrap_err().code.0, "22P04", "{length} bytes");
        }
    }
}

#[test]
fn faults_are_named() {
    let with = |header: &[u8], rest: &[u8]| [header, rest].concat();
    assert_eq!(code(b"PGCOPY\n\xff\r\n\x01\0\0\0\0\0\0\0\0"), "22P04 COPY file signature not recognized");
    let mut oids = HEADER.to_vec();
    oids[12] = 1;
    assert_eq!(code(&oids), "22P04 invalid COPY file header (WITH OIDS)");
    oids[12] = 2;
    assert_eq!(code(&oids), "22P04 unrecognized critical flags in COPY file header");
    let mut negative = HEADER.to_vec();
    negative[15] = 255;
    assert_eq!(code(&negative), "22P04 invalid COPY file header (missing length)");
    let mut extended = HEADER.to_vec();
    extended[18] = 3;
    assert_eq!(code(&extended), "22P04 invalid COPY file header (wrong length)");
    let skipped = [extended, b"abc".to_vec(), row(1, None)].concat();
    assert_eq!(read(&skipped, 1).unwrap()[0].num_rows(), 1);
    assert_eq!(code(&with(HEADER, &[0, 3])), "22P04 row field count is 3, expected 4");
    assert_eq!(code(&with(HEADER, &[255, 254])), "22P04 row field count is -2, expected 4");
    assert_eq!(code(&with(HEADER, &[0, 4, 255, 255, 255, 254])), "22P04 invalid field size");
    assert_eq!(
        code(&with(HEADER, &[0, 4, 127, 255, 255, 255])),
        "54000 row of COPY data is longer than 268435456 bytes"
    );
    assert_eq!(code(&with(&whole(), &[0])), "22P04 received copy data after EOF marker");
    let short = [vec![0, 4], field(&[0, 0, 1]), vec![255; 12]].concat();
    let error = read(&with(HEADER, &short), 1024).unwrap_err();
    assert_eq!(error.code.0, "22P03");
    assert_eq!(error.detail.as_deref(), Some("COPY t, line 1, column a"));
    let text = [vec![0, 4], field(&1_i32.to_be_bytes()), field(b"\xff"), vec![255; 8]].concat();
    assert_eq!(read(&with(HEADER, &text), 1024).unwrap_err().code.0, "22021");
}

#[test]
fn long_data_comes_in_batches() {
    let rows: Vec<u8> = (0..20_000).flat_map(|n| row(n, Some("x"))).collect();
    let batches = read(&[HEADER.to_vec(), rows].concat(), 100_000).unwrap();
    let sizes: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [8192, 8192, 3616]);
    assert_eq!(batches[2].column(0).as_primitive::<Int32Type>().value(3615), 19_999);
}
