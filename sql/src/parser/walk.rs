//! Walks over the syntax tree that are compiled once.
//!
//! sqlparser generates its visit functions, some 600 of them, anew for every type of visitor; with
//! our forty visitors that was most of this crate's machine code and of its build time. Here all
//! visitors are called through one type, so that one copy of those functions serves them all.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};

/// A node that can be read from top to bottom.
pub trait Walk: Visit {
    /// [`Visit::visit`], by the shared copy.
    fn walk<B>(&self, visitor: &mut dyn Visitor<Break = B>) -> ControlFlow<B> {
        self.visit(&mut Shared(visitor))
    }
}

impl<N: Visit> Walk for N {}

/// A node that can be changed from top to bottom.
pub trait WalkMut: VisitMut {
    /// [`VisitMut::visit`], by the shared copy.
    fn walk_mut<B>(&mut self, visitor: &mut dyn VisitorMut<Break = B>) -> ControlFlow<B> {
        self.visit(&mut SharedMut(visitor))
    }
}

impl<N: VisitMut> WalkMut for N {}

struct Shared<'a, B>(&'a mut dyn Visitor<Break = B>);

struct SharedMut<'a, B>(&'a mut dyn VisitorMut<Break = B>);

/// Hands calls on to the visitor behind the shared type.
macro_rules! hand_on {
    ($($name:ident: $node:ty),* $(,)?) => {
        $(fn $name(&mut self, node: $node) -> ControlFlow<B> {
            self.0.$name(node)
        })*
    };
}

impl<B> Visitor for Shared<'_, B> {
    type Break = B;

    hand_on! {
        pre_visit_query: &Query,
        post_visit_query: &Query,
        pre_visit_select: &Select,
        post_visit_select: &Select,
        pre_visit_relation: &ObjectName,
        post_visit_relation: &ObjectName,
        pre_visit_table_factor: &TableFactor,
        post_visit_table_factor: &TableFactor,
        pre_visit_expr: &Expr,
        post_visit_expr: &Expr,
        pre_visit_statement: &Statement,
        post_visit_statement: &Statement,
        pre_visit_value: &ValueWithSpan,
        post_visit_value: &ValueWithSpan,
    }
}

impl<B> VisitorMut for SharedMut<'_, B> {
    type Break = B;

    hand_on! {
        pre_visit_query: &mut Query,
        post_visit_query: &mut Query,
        pre_visit_select: &mut Select,
        post_visit_select: &mut Select,
        pre_visit_relation: &mut ObjectName,
        post_visit_relation: &mut ObjectName,
        pre_visit_table_factor: &mut TableFactor,
        post_visit_table_factor: &mut TableFactor,
        pre_visit_expr: &mut Expr,
        post_visit_expr: &mut Expr,
        pre_visit_statement: &mut Statement,
        post_visit_statement: &mut Statement,
        pre_visit_value: &mut ValueWithSpan,
        post_visit_value: &mut ValueWithSpan,
    }
}
