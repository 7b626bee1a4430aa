//! Physical plans as `EXPLAIN` shows them: a line per node with estimates in Postgres' form, or JSON.
//!
//! Costs are in Postgres' unit, the time to read a page of 8 KiB in sequence: one for each page of the
//! files that a scan may read, a hundredth for each row that a node handles (`seq_page_cost` and
//! `cpu_tuple_cost` of the manual, 20.7.2). They compare plans with each other, and nothing else.

use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::stats::Precision;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};

const PAGE_BYTES: f64 = 8192.0;
const COST_OF_ROW: f64 = 0.01;
/// Rows of a relation of which nothing is known.
const UNKNOWN_ROWS: f64 = 1000.0;

/// What a node is expected to do, its inputs included.
#[derive(Debug, Clone, Copy)]
struct Estimate {
    cost: f64,
    rows: f64,
    /// Bytes of a row.
    width: f64,
}

/// What to show of a plan.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    pub costs: bool,
    pub verbose: bool,
    /// The plan has run: its metrics are shown.
    pub analyze: bool,
}

/// The plan, a line for each node.
pub fn lines(plan: &Arc<dyn ExecutionPlan>, shown: Shown) -> Vec<String> {
    let mut lines: Vec<String> = display(plan.as_ref(), shown).lines().map(str::to_string).collect();
    let mut estimates = Vec::new();
    if shown.costs {
        collect(plan, &mut estimates);
    }
    // A node may take several lines, and then it is not told which belong to which.
    if estimates.len() == lines.len() {
        for (line, Estimate { cost, rows, width }) in lines.iter_mut().zip(&estimates) {
            let _ = write!(line, "  (cost=0.00..{cost:.2} rows={rows:.0} width={width:.0})");
        }
    } else if let (Some(line), Some(Estimate { cost, rows, width })) = (lines.first_mut(), estimates.first())
    {
        let _ = write!(line, "  (cost=0.00..{cost:.2} rows={rows:.0} width={width:.0})");
    }
    lines
}

fn display(plan: &dyn ExecutionPlan, shown: Shown) -> String {
    let displayable = if shown.analyze {
        DisplayableExecutionPlan::with_metrics(plan)
    } else {
        DisplayableExecutionPlan::new(plan)
    };
    displayable.indent(shown.verbose).to_string()
}

/// The plan as one JSON document, with the keys that Postgres' has. `seconds`: how long it ran.
pub fn json(plan: &Arc<dyn ExecutionPlan>, shown: Shown, seconds: Option<f64>) -> String {
    let mut text = String::from("[\n  {\n    \"Plan\": ");
    node(plan, shown, 4, &mut text);
    if let Some(seconds) = seconds {
        let _ = write!(text, ",\n    \"Execution Time\": {:.3}", seconds * 1000.0);
    }
    text.push_str("\n  }\n]");
    text
}

fn node(plan: &Arc<dyn ExecutionPlan>, shown: Shown, indent: usize, text: &mut String) {
    let pad = " ".repeat(indent + 2);
    let displayable = if shown.analyze {
        DisplayableExecutionPlan::with_metrics(plan.as_ref())
    } else {
        DisplayableExecutionPlan::new(plan.as_ref())
    };
    let _ = write!(text, "{{\n{pad}\"Node Type\": ");
    string(plan.name(), text);
    if shown.costs {
        let Estimate { cost, rows, width } = estimate(plan);
        let _ = write!(text, ",\n{pad}\"Startup Cost\": 0.00,\n{pad}\"Total Cost\": {cost:.2}");
        let _ = write!(text, ",\n{pad}\"Plan Rows\": {rows:.0},\n{pad}\"Plan Width\": {width:.0}");
    }
    if shown.analyze
        && let Some(rows) = plan.metrics().and_then(|metrics| metrics.output_rows())
    {
        let _ = write!(text, ",\n{pad}\"Actual Rows\": {rows}");
    }
    let _ = write!(text, ",\n{pad}\"Details\": ");
    string(displayable.one_line().to_string().trim_end(), text);
    let children = plan.children();
    if !children.is_empty() {
        let _ = write!(text, ",\n{pad}\"Plans\": [");
        for (i, child) in children.into_iter().enumerate() {
            text.push_str(if i == 0 { "\n" } else { ",\n" });
            text.push_str(&" ".repeat(indent + 4));
            node(child, shown, indent + 4, text);
        }
        let _ = write!(text, "\n{pad}]");
    }
    let _ = write!(text, "\n{}}}", " ".repeat(indent));
}

fn string(value: &str, text: &mut String) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' | '\\' => {
                text.push('\\');
                text.push(letter);
            }
            letter if letter.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(letter));
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
}

fn collect(plan: &Arc<dyn ExecutionPlan>, estimates: &mut Vec<Estimate>) {
    estimates.push(estimate(plan));
    for child in plan.children() {
        collect(child, estimates);
    }
}

fn estimate(plan: &Arc<dyn ExecutionPlan>) -> Estimate {
    let inputs: Vec<Estimate> = plan.children().into_iter().map(estimate).collect();
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok();
    let known = |precision: Precision<usize>| precision.get_value().map(|value| *value as f64);
    let rows = statistics.as_ref().and_then(|statistics| known(statistics.num_rows));
    let bytes = statistics.as_ref().and_then(|statistics| known(statistics.total_byte_size));
    let rows = rows.unwrap_or_else(|| inputs.iter().map(|input| input.rows).fold(f64::NAN, f64::max));
    let rows = if rows.is_nan() { UNKNOWN_ROWS } else { rows };
    let width = match bytes {
        Some(bytes) if rows >= 1.0 && bytes > 0.0 => (bytes / rows).ceil(),
        _ => width(&plan.schema()),
    };
    let read = if inputs.is_empty() { (rows * width / PAGE_BYTES).ceil() } else { 0.0 };
    let below: f64 = inputs.iter().map(|input| input.cost).sum();
    Estimate { cost: below + read + rows * COST_OF_ROW, rows, width }
}

fn width(schema: &Schema) -> f64 {
    let widths = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Boolean => 1,
        data_type => data_type.primitive_width().unwrap_or(32),
    });
    widths.sum::<usize>() as f64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;

    use super::*;

    fn plan(rows: i32) -> Arc<dyn ExecutionPlan> {
        let fields = [Field::new("n", DataType::Int32, false), Field::new("t", DataType::Utf8, false)];
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let texts = StringArray::from_iter_values((0..rows).map(|n| format!("\"{n}\"")));
        let numbers = Int32Array::from_iter_values(0..rows);
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), Arc::new(texts)]).unwrap();
        let source = MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None).unwrap();
        Arc::new(CoalescePartitionsExec::new(source))
    }

    const PLAIN: Shown = Shown { costs: true, verbose: false, analyze: false };

    #[test]
    fn more_rows_cost_more() {
        assert!(estimate(&plan(1000)).cost > estimate(&plan(10)).cost);
        assert_eq!(estimate(&plan(1000)).rows, 1000.0);
    }

    #[test]
    fn every_line_ends_with_its_estimate() {
        let shown = lines(&plan(10), PLAIN);
        assert_eq!(shown.len(), 2);
        assert!(
            shown.iter().all(|line| line.contains("  (cost=0.00..") && line.contains(" rows=10 width=")),
            "{shown:?}"
        );
        assert!(!lines(&plan(10), Shown { costs: false, ..PLAIN }).join("").contains("cost="));
    }

    #[test]
    fn json_nests_as_the_plan_does() {
        let text = json(&plan(10), PLAIN, Some(0.5));
        assert!(
            text.starts_with("[\n  {\n    \"Plan\": {\n      \"Node Type\": \"CoalescePartitionsExec\""),
            "{text}"
        );
        assert!(text.contains("\"Plans\": [") && text.contains("\"Execution Time\": 500.000"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
