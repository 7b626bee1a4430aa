//! What decodes a client's bytes, for the fuzzer (`fuzz/`): the first byte says what the others are.

use std::num::NonZeroU32;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use auric_sql::types::arrow_type;
use auric_sql::{CommandTag, CopyIn, OutputColumn, Result};
use bytes::Bytes;
use postgres_types::Type;

use super::copy_binary::BinaryInput;
use super::encode::{BatchEncoder, Formats, Shown};
use super::{frontend, parameter};
use crate::security::scram::{Exchange, Verifier};

const TYPES: [Type; 28] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::OID,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::NUMERIC,
    Type::TEXT,
    Type::VARCHAR,
    Type::BPCHAR,
    Type::NAME,
    Type::CHAR,
    Type::BYTEA,
    Type::UUID,
    Type::DATE,
    Type::TIME,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
    Type::INTERVAL,
    Type::JSON,
    Type::JSONB,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::FLOAT8_ARRAY,
    Type::NUMERIC_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
];

/// Decodes what a client may have sent. What is refused is as good as what is not.
///
/// # Panics
///
/// If something is wrong with the decoder.
pub fn decode(data: &[u8]) {
    let [kind, rest @ ..] = data else { return };
    let body = || Bytes::copy_from_slice(rest);
    match kind {
        b'Q' => drop(frontend::query(body())),
        b'P' => drop(frontend::parse(body())),
        b'B' => drop(frontend::bind(body())),
        b'D' => drop(frontend::target(body())),
        b'E' => drop(frontend::execute(body())),
        b'f' => drop(frontend::copy_fail(body())),
        b'S' => drop(frontend::sasl_initial_response(body())),
        b's' => drop(frontend::startup_parameters(body())),
        b't' => one_parameter(rest, false),
        b'b' => one_parameter(rest, true),
        b'c' => binary_copy(rest),
        b'a' => scram(rest),
        b'q' => drop(std::str::from_utf8(rest).map(auric_sql::parser::parse)),
        b'C' => auric_sql::fuzz::copy_records(rest),
        _ => {}
    }
}

/// A value that is taken is one of its type, and goes out again; in binary it comes back the same.
fn one_parameter(data: &[u8], binary: bool) {
    let [number, bytes @ ..] = data else { return };
    let Some(pg) = TYPES.get(usize::from(*number) % TYPES.len()) else { return };
    let Ok(value) = parameter::decode(pg, Some(bytes), binary) else { return };
    let target = arrow_type(pg);
    if matches!(target, DataType::List(_)) {
        return;
    }
    assert_eq!(value.data_type(), target, "of {pg}");
    for format in [false, true] {
        let encoded = value.to_array().map_err(|e| e.to_string()).map(|array| {
            let schema = Arc::new(Schema::new(vec![Field::new("p", target.clone(), true)]));
            let batch = RecordBatch::try_new(schema, vec![array]);
            batch.map_err(|e| e.to_string()).map(|batch| message(&batch, &column("p", pg), format))
        });
        // A value that cannot be sent (a year of six digits in text) is refused when it is.
        if let Ok(Ok(Ok(encoded))) = encoded
            && format
            && binary
        {
            // Type, length, number of values, length of the first.
            let again = parameter::decode(pg, encoded.get(11..), true);
            assert_eq!(again.ok(), Some(value.clone()), "of {pg} in binary");
        }
    }
}

fn column(name: &str, pg: &Type) -> OutputColumn {
    OutputColumn {
        name: name.into(),
        pg_type: pg.clone(),
        type_modifier: -1,
        quotient_scale: None,
        origin: None,
    }
}

fn message(batch: &RecordBatch, column: &OutputColumn, binary: bool) -> Result<Bytes> {
    let columns = std::slice::from_ref(column);
    let mut encoder = BatchEncoder::new(batch, columns, &Formats::All(binary), &Shown::plain())?;
    Ok(encoder.next_chunk()?.map(|(bytes, _)| bytes).unwrap_or_default())
}

/// Data of COPY in binary, in pieces as long as its first byte says, for a table of so many columns as its
/// second.
fn binary_copy(data: &[u8]) {
    let [size, columns, bytes @ ..] = data else { return };
    let columns = TYPES.iter().take(usize::from(*columns) % (TYPES.len() + 1));
    let mut input = BinaryInput::new(&Target(columns.map(|pg| column("c", pg)).collect()));
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        input.push(piece);
        while let Ok(Some(_)) = input.next_batch() {}
    }
    drop(input.finish());
}

/// The two messages of a client, split by a zero byte; or a verifier.
fn scram(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    drop(text.parse::<Verifier>());
    let Some((first, last)) = text.split_once('\0') else { return };
    let verifier = Verifier::mock("user", b"secret", NonZeroU32::MIN);
    let end_point = vec![7; 32];
    for (mechanism, end_point) in [("SCRAM-SHA-256", None), ("SCRAM-SHA-256-PLUS", Some(&end_point))] {
        if let Ok(exchange) = Exchange::begin(verifier.clone(), end_point, mechanism, first, "nonce") {
            let proven = exchange.finish(last);
            assert!(!matches!(proven, Ok(Some(_))), "nobody knows the password");
        }
    }
}

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
