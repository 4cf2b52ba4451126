//! Numbers of JSON: integers as text, and the nearest float64.

use super::cursor::{Cursor, Read, Unusual};

/// A number as it is written.
pub struct Number {
    /// Its digits as an integer, if those are not too many.
    mantissa: u64,
    digits: usize,
    /// Digits behind the point.
    fraction: usize,
    /// Whether it has neither a point nor an exponent.
    integer: bool,
    exponent: bool,
}

/// An integer of more digits is left to others: Python reads them up to a limit that can be set.
const MOST_DIGITS: usize = 600;

/// Fewer digits than there are of these make an integer of 64 bits.
const POWERS: [f64; 20] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19,
];

impl<'a> Cursor<'a> {
    /// Goes behind white space and a number of digits.
    #[inline(always)]
    pub(super) fn digits(&mut self) -> Read<Number> {
        self.peek();
        let mut number = Number { mantissa: 0, digits: 0, fraction: 0, integer: true, exponent: false };
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        let zero = self.bytes.get(self.at) == Some(&b'0');
        let whole = self.run(&mut number);
        if whole == 0 || (zero && whole > 1) {
            return Err(Unusual);
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            number.fraction = self.run(&mut number);
            number.integer = false;
            if number.fraction == 0 {
                return Err(Unusual);
            }
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            number.exponent = true;
            number.integer = false;
            if self.run(&mut Number { ..number }) == 0 {
                return Err(Unusual);
            }
        }
        Ok(number)
    }

    /// Goes behind digits, which become part of the mantissa: how many they are.
    #[inline(always)]
    fn run(&mut self, number: &mut Number) -> usize {
        let start = self.at;
        while let Some(digit) = self.bytes.get(self.at).map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
        {
            number.mantissa = number.mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        number.digits += self.at - start;
        self.at - start
    }

    /// Goes behind white space and an integer: the text that Python prints for it.
    pub fn integer(&mut self) -> Read<&'a [u8]> {
        self.peek();
        let start = self.at;
        let number = self.digits()?;
        if !number.integer || number.digits > MOST_DIGITS {
            return Err(Unusual);
        }
        let text = &self.bytes[start..self.at];
        Ok(if text == b"-0" { b"0" } else { text })
    }

    /// Goes behind white space and a number: the nearest float64.
    #[inline(always)]
    pub fn float(&mut self) -> Read<f64> {
        let start = match self.peek() {
            Some(b'N') if self.took_word("NaN") => return Ok(f64::NAN),
            Some(b'I') if self.took_word("Infinity") => return Ok(f64::INFINITY),
            Some(b'-') if self.took_word("-Infinity") => return Ok(f64::NEG_INFINITY),
            _ => self.at,
        };
        let number = self.digits()?;
        // Both are exact in float64, and one division rounds once (Clinger 1990).
        if number.digits < POWERS.len() && number.mantissa <= 1 << f64::MANTISSA_DIGITS && !number.exponent {
            let value = number.mantissa as f64 / POWERS[number.fraction];
            // An integer has no negative zero.
            let negative = self.bytes[start] == b'-' && !(number.integer && number.mantissa == 0);
            return Ok(if negative { -value } else { value });
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).map_err(|_| Unusual)?;
        let value: f64 = text.parse().map_err(|_| Unusual)?;
        // Python refuses an integer that is beyond float64.
        if number.integer && value.is_infinite() { Err(Unusual) } else { Ok(value) }
    }
}
