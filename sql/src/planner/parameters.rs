//! Types of parameters that DataFusion does not find: arguments of functions whose arguments have a type
//! in common (`coalesce(a, $1)`), and arrays (`a = ANY($1)`, which is `array_has($1, a)` in a plan).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::{Case, Expr, ExprSchemable, LogicalPlan};

/// Functions whose arguments are all of one type.
const OF_ONE_TYPE: &[&str] = &["coalesce", "nullif", "greatest", "least", "make_array"];

/// Names and fields of the parameters found; the first place decides, as in Postgres.
pub fn beside_arguments(plan: &LogicalPlan) -> Result<BTreeMap<String, FieldRef>> {
    let mut found = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        for input in node.inputs() {
            schema.merge(input.schema());
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::ScalarFunction(call) => of_call(call, &schema, &mut found),
                    Expr::Case(case) => of_case(case, &schema, &mut found),
                    // Inferred here, though not where it stands a second time: `a = $1 or $1 is null`.
                    Expr::Placeholder(Placeholder { id, field: Some(field) })
                        if *field.data_type() != DataType::Null =>
                    {
                        found.entry(id.clone()).or_insert_with(|| field.clone());
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

fn of_call(call: &ScalarFunction, schema: &DFSchema, found: &mut BTreeMap<String, FieldRef>) {
    match (call.name(), call.args.as_slice()) {
        ("array_has", [array, item]) => {
            if let (Some(name), Some(item)) = (untyped(array), known_type(item, schema)) {
                let item = Arc::new(Field::new_list_field(item, true));
                found.entry(name.to_string()).or_insert_with(|| field(DataType::List(item)));
            }
        }
        (function, arguments) if OF_ONE_TYPE.contains(&function) => {
            common_type(arguments.iter(), schema, found);
        }
        _ => {}
    }
}

/// Results have a type in common, and so have the operand and what it is compared with.
fn of_case(case: &Case, schema: &DFSchema, found: &mut BTreeMap<String, FieldRef>) {
    let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
    common_type(results.chain(case.else_expr.as_deref()), schema, found);
    if let Some(operand) = &case.expr {
        let compared = case.when_then_expr.iter().map(|(when, _)| when.as_ref());
        common_type(compared.chain([operand.as_ref()]), schema, found);
    }
}

fn common_type<'a>(
    arguments: impl Iterator<Item = &'a Expr> + Clone,
    schema: &DFSchema,
    found: &mut BTreeMap<String, FieldRef>,
) {
    let Some(known) = arguments.clone().find_map(|argument| known_type(argument, schema)) else { return };
    for name in arguments.filter_map(untyped) {
        found.entry(name.to_string()).or_insert_with(|| field(known.clone()));
    }
}

fn untyped(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => Some(id),
        _ => None,
    }
}

fn known_type(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    if untyped(expr).is_some() {
        return None;
    }
    expr.get_type(schema).ok().filter(|data_type| *data_type != DataType::Null)
}

fn field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("", data_type, true))
}
