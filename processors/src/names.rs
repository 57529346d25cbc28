//! What an expression may mention: columns and functions that exist, one reading, a bounded depth.
//!
//! Checked on the syntax tree, because it still knows where in the text each name stands.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, ObjectName, Query, Spanned, Visit, Visitor,
};
use datafusion_sql::sqlparser::tokenizer::Span;

use crate::functions::{self, Known};
use crate::limits;

/// A mistake, and where in the expression it is.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) problem: String,
    pub(crate) at: Option<Span>,
}

impl Fault {
    pub(crate) fn new(problem: impl Into<String>, at: impl Into<Option<Span>>) -> Self {
        Self { problem: problem.into(), at: at.into() }
    }
}

/// Checks every name in `expression` against `columns` and the functions of rules.
pub(crate) fn check(expression: &Expr, columns: &[&str]) -> Result<(), Fault> {
    match expression.visit(&mut Checker { columns, depth: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(fault) => Err(fault),
    }
}

/// `; did you mean ...` for the candidate nearest to `name`, or the empty text if none is near.
pub(crate) fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let near = |candidate: &'a str| (strsim::damerau_levenshtein(name, candidate), candidate);
    let best = candidates.into_iter().map(near).min_by_key(|(distance, _)| *distance);
    match best {
        // A third of the name mistyped, two letters of a short one.
        Some((distance, nearest)) if distance <= (name.chars().count() / 3).max(2) => {
            format!("; did you mean `{nearest}`?")
        }
        _ => String::new(),
    }
}

struct Checker<'a> {
    columns: &'a [&'a str],
    depth: usize,
}

impl Visitor for Checker<'_> {
    type Break = Fault;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Fault> {
        ControlFlow::Break(Fault::new("subqueries are refused: a rule sees one reading at a time", query.span()))
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Fault> {
        self.depth += 1;
        if self.depth > limits::EXPRESSION_DEPTH {
            return ControlFlow::Break(Fault::new(too_deep(limits::EXPRESSION_DEPTH), None));
        }
        let checked = match expression {
            Expr::Identifier(name) => self.check_column(name),
            Expr::CompoundIdentifier(names) => Err(Fault::new(
                format!("`{expression}`: columns of a reading have no prefix"),
                names.first().map(|name| name.span),
            )),
            Expr::Function(function) => check_function(function),
            _ => Ok(()),
        };
        match checked {
            Ok(()) => ControlFlow::Continue(()),
            Err(fault) => ControlFlow::Break(fault),
        }
    }

    fn post_visit_expr(&mut self, _expression: &Expr) -> ControlFlow<Fault> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

impl Checker<'_> {
    fn check_column(&self, ident: &Ident) -> Result<(), Fault> {
        let name = normal(ident);
        if self.columns.contains(&name.as_str()) {
            return Ok(());
        }
        let hint = match (suggestion(&name, self.columns.iter().copied()), ident.quote_style) {
            (hint, None) => hint,
            (hint, Some(_)) => format!("{hint} (text is written in single quotes: '{name}')"),
        };
        let known = self.columns.join(", ");
        Err(Fault::new(format!("unknown column `{name}`{hint}; the columns are {known}"), ident.span))
    }
}

fn check_function(function: &Function) -> Result<(), Fault> {
    let Function { name, parameters, args, filter, null_treatment, over, within_group, .. } = function;
    let at = name.span();
    let lower = function_name(name);
    if over.is_some() {
        return Err(Fault::new("window functions are refused: a rule sees one reading at a time", at));
    }
    match functions::all().know(&lower) {
        Known::Function => {}
        Known::Refused => {
            let why = "a rule must give the same on a replay, so it may not depend on clock, chance or version, nor make \
                       text of any length; use the columns `time` or `received_at` for times";
            return Err(Fault::new(format!("function `{lower}` is refused: {why}"), at));
        }
        Known::OverRows => {
            let why = "aggregate and window functions are refused: a rule sees one reading at a time";
            return Err(Fault::new(format!("function `{lower}`: {why}"), at));
        }
        Known::Nothing => {
            let hint = suggestion(&lower, functions::all().names());
            return Err(Fault::new(format!("unknown function `{lower}`{hint}"), at));
        }
    }
    // The planner passes over these without a word.
    let plain_arguments = match args {
        FunctionArguments::None => true,
        FunctionArguments::Subquery(_) => false,
        FunctionArguments::List(list) => list.duplicate_treatment.is_none() && list.clauses.is_empty(),
    };
    let plain = plain_arguments
        && matches!(parameters, FunctionArguments::None)
        && filter.is_none()
        && null_treatment.is_none()
        && within_group.is_empty();
    if plain { Ok(()) } else { Err(Fault::new(format!("function `{lower}` takes plain arguments only"), at)) }
}

/// The message for an expression nested deeper than `limit`.
pub(crate) fn too_deep(limit: usize) -> String {
    format!("expression is nested too deeply, the limit is {limit} levels; split the rule, or use IN for lists")
}

fn function_name(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [part] => part.as_ident().map_or_else(|| name.to_string(), normal),
        _ => name.to_string(),
    }
}

/// A name as SQL means it: lower case unless quoted.
fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}
