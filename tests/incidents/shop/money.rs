//! Amounts of money, to the cent.

use std::fmt;
use std::iter::Sum;

/// Cents. Prints as `numeric(12,2)` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money(pub i64);

impl Money {
    /// A whole amount.
    pub const fn euros(euros: i64) -> Money {
        Money(euros * 100)
    }

    /// This price for so many.
    pub fn times(self, quantity: i64) -> Money {
        Money(self.0 * quantity)
    }

    /// What is left after `percent` off, rounded to the cent as PostgreSQL's `round` does: what a coupon means.
    pub fn less_percent(self, percent: i64) -> Money {
        Money((self.0 * (100 - percent) + 50) / 100)
    }

    /// What is left after so many euros off: what v42 took a coupon to mean.
    pub fn less_euros(self, euros: i64) -> Money {
        Money(self.0 - Money::euros(euros).0)
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Money>>(amounts: I) -> Self {
        Money(amounts.map(|amount| amount.0).sum())
    }
}

impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}
