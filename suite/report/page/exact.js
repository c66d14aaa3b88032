// Exact fractions, so that a value here is the value of the command line: multiplied without rounding,
// and rounded once, to the nearest double.
const Exact = (() => {
  const gcd = (a, b) => { while (b) [a, b] = [b, a % b]; return a < 0n ? -a : a; };
  const make = (top, bottom) => {
    if (bottom < 0n) [top, bottom] = [-top, -bottom];
    const common = gcd(top, bottom) || 1n;
    return { top: top / common, bottom: bottom / common };
  };
  // The very number that a double is.
  const ofDouble = (value) => {
    if (value === 0) return make(0n, 1n);
    const bits = new DataView(new ArrayBuffer(8));
    bits.setFloat64(0, value);
    const whole = bits.getBigUint64(0);
    const raw = Number((whole >> 52n) & 0x7ffn);
    let mantissa = whole & 0xfffffffffffffn;
    if (raw) mantissa |= 1n << 52n;
    const power = (raw || 1) - 1075;
    const signed = whole >> 63n ? -mantissa : mantissa;
    return power >= 0 ? make(signed << BigInt(power), 1n) : make(signed, 1n << BigInt(-power));
  };
  // The number that a text says in decimals: 0.1 is 1/10.
  const ofDecimal = (text) => {
    const [, sign, whole, part = "", power = "0"] = /^([+-]?)(\d*)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(text);
    const digits = BigInt(sign + (whole + part || "0"));
    const shift = Number(power) - part.length;
    return shift >= 0 ? make(digits * 10n ** BigInt(shift), 1n) : make(digits, 10n ** BigInt(-shift));
  };
  const times = (a, b) => make(a.top * b.top, a.bottom * b.bottom);
  const power = (a, exponent) => exponent < 0
    ? make(a.bottom ** BigInt(-exponent), a.top ** BigInt(-exponent))
    : make(a.top ** BigInt(exponent), a.bottom ** BigInt(exponent));
  const size = (n) => n.toString(2).length;
  // The nearest double, halves to even; null where there is none in the normal range.
  const toDouble = ({ top, bottom }) => {
    if (top === 0n) return 0;
    const negative = top < 0n;
    if (negative) top = -top;
    let shift = 54 - (size(top) - size(bottom));  // the quotient has 54 or 55 bits
    let quotient = shift >= 0 ? (top << BigInt(shift)) / bottom : top / (bottom << BigInt(-shift));
    const rest = shift >= 0 ? (top << BigInt(shift)) % bottom : top % (bottom << BigInt(-shift));
    const spare = BigInt(size(quotient) - 53);
    const half = 1n << (spare - 1n);
    const over = quotient & ((1n << spare) - 1n);
    quotient >>= spare;
    shift -= Number(spare);
    if (over > half || (over === half && (rest > 0n || quotient & 1n))) quotient += 1n;
    let value = Number(quotient);
    for (let left = -shift; left; ) {
      const step = Math.max(-1000, Math.min(1000, left));
      value *= 2 ** step;
      left -= step;
    }
    if (!Number.isFinite(value) || value < 2.2250738585072014e-308) return null;
    return negative ? -value : value;
  };
  const powerOfTwo = ({ top, bottom }) => bottom === 1n && (top & (top - 1n)) === 0n || top === 1n && (bottom & (bottom - 1n)) === 0n;
  return { make, ofDouble, ofDecimal, times, power, toDouble, powerOfTwo };
})();
const DATA = JSON.parse(document.getElementById("data").textContent);
const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const option = (text, value = text) => element("option", text, { value });
