//! `metric = '...'` in front of a rule, which most rules have: only readings of that metric need be looked at.
//!
//! What is the same on each reading alone: where the first part of an AND is false, the rest is not evaluated, so it
//! cannot fail there either. A comparison further back is left where it is, because what stands before it may fail.

use datafusion_sql::sqlparser::ast::{BinaryOperator, Expr, Value};
use telemetry::schema::{self, reading};

use crate::names::normal;

/// The metric that `expression` asks for first, and what else it asks for.
pub(crate) fn split(expression: &Expr) -> Option<(String, Option<Expr>)> {
    match expression {
        Expr::Nested(inner) => split(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let (metric, rest) = split(left)?;
            let rest = match rest {
                None => right.as_ref().clone(),
                // In brackets, because it may have stood in some.
                Some(rest) => Expr::BinaryOp {
                    left: Box::new(Expr::Nested(Box::new(rest))),
                    op: BinaryOperator::And,
                    right: right.clone(),
                },
            };
            Some((metric, Some(rest)))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            let metric = equal(left, right).or_else(|| equal(right, left))?;
            Some((metric, None))
        }
        _ => None,
    }
}

/// The text, if `name` is the column `metric` and `text` is a text.
fn equal(name: &Expr, text: &Expr) -> Option<String> {
    let Expr::Identifier(name) = name else { return None };
    let Expr::Value(value) = text else { return None };
    let Value::SingleQuotedString(text) = &value.value else { return None };
    let readings = schema::readings();
    let metric = readings.fields().get(reading::METRIC)?;
    (normal(name) == *metric.name()).then(|| text.clone())
}

#[cfg(test)]
mod tests {
    use datafusion_sql::sqlparser::dialect::GenericDialect;
    use datafusion_sql::sqlparser::parser::Parser;

    use super::*;

    fn shown(when: &str) -> Option<(String, Option<String>)> {
        let expression = Parser::new(&GenericDialect).try_with_sql(when).unwrap().parse_expr().unwrap();
        split(&expression).map(|(metric, rest)| (metric, rest.map(|rest| rest.to_string())))
    }

    #[test]
    fn the_first_comparison_is_taken_off() {
        let cases = [
            ("metric = 'a'", Some(("a", None))),
            ("'a' = METRIC", Some(("a", None))),
            ("(\"metric\" = 'a')", Some(("a", None))),
            ("metric = 'it''s' AND value > 1", Some(("it's", Some("value > 1")))),
            ("metric = 'a' AND value > 1 AND unit = 'b'", Some(("a", Some("(value > 1) AND unit = 'b'")))),
            (
                "(metric = 'a' AND value > 1) AND (unit = 'b' OR boot = 1)",
                Some(("a", Some("(value > 1) AND (unit = 'b' OR boot = 1)"))),
            ),
            ("metric = 'a' OR value > 1", None),
            ("value > 1 AND metric = 'a'", None),
            ("metric <> 'a'", None),
            ("metric = unit", None),
            ("unit = 'a' AND value > 1", None),
            ("NOT (metric = 'a')", None),
        ];
        for (when, expected) in cases {
            let expected = expected.map(|(metric, rest)| (metric.to_owned(), rest.map(str::to_owned)));
            assert_eq!(shown(when), expected, "{when}");
        }
    }
}
