'use strict';
// The numbers of each method, their text and their colours.

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function floatsOf(base64) {
  return new Float32Array(bytesOf(base64).buffer); // little endian, like all machines with browsers
}

function floatsOfAll(blocks) {
  return Object.fromEntries(Object.entries(blocks).map(([name, base64]) => [name, floatsOf(base64)]));
}

/** Credits of one method, or their standard errors; null if unknown. */
class Credits {
  constructor(blocks, counts) {
    this.blocks = floatsOfAll(blocks);
    this.counts = counts;
    this.most = new Map(Object.entries(this.blocks).map(([name, block]) => [name, extremesOf(block)]));
  }

  has(name) {
    return name in this.blocks;
  }

  hasWithin(side) {
    return this.has(side === 0 ? 'within_query' : 'within_retrieved');
  }

  /** What every part of a side adds while the other side is whole. */
  parts(side) {
    const all = this.blocks.given_other;
    if (!all) return null;
    return side === 0 ? all.subarray(0, this.counts[0]) : all.subarray(this.counts[0]);
  }

  /** Credits of the pairs of one part with every part of a side. */
  pairs(part, side) {
    if (part.side === side) return this.within(part);
    const block = this.blocks.between, [, columns] = this.counts;
    if (!block) return null;
    if (part.side === 0) return block.subarray(part.index * columns, (part.index + 1) * columns);
    return Float32Array.from({ length: this.counts[0] }, (_, row) => block[row * columns + part.index]);
  }

  within(part) {
    const block = this.blocks[part.side === 0 ? 'within_query' : 'within_retrieved'];
    const n = this.counts[part.side];
    return block ? block.subarray(part.index * n, (part.index + 1) * n) : null;
  }

  /** Largest absolute value of some blocks, of one sign or of both. */
  largest(names, sign = 'both') {
    const ends = names.flatMap((name) => this.most.get(name) ?? []);
    return Math.max(0, ...ends.map((value) => (hasSign(value, sign) ? Math.abs(value) : 0)));
  }
}

/** Least and largest value. */
function extremesOf(values) {
  return [values.reduce((a, b) => Math.min(a, b), 0), values.reduce((a, b) => Math.max(a, b), 0)];
}

function hasSign(value, sign) {
  return sign === 'both' || (sign === 'positive' ? value > 0 : value < 0);
}

/** Function that writes the numbers of a scale, all with the same number of decimals, and none that their error makes meaningless. */
function writer(scale, error = 0) {
  if (scale > 0 && (scale < 1e-6 || scale >= 1e6)) return (value) => value.toExponential(error > 0.05 * Math.abs(value) ? 0 : 2).replace('-', '−');
  const fitting = scale > 0 ? Math.min(8, Math.max(0, 2 - Math.floor(Math.log10(scale)))) : 2;
  const decimals = error > 0 ? Math.min(fitting, Math.max(0, -Math.floor(Math.log10(error)))) : fitting;
  return (value) => {
    const text = Math.abs(value).toFixed(decimals);
    if (!Number(text)) return text;
    return (value < 0 ? '−' : '+') + text;
  };
}

/** A number of a scale with its standard error; without the error if it is only a rounding error. */
function withError(value, error, scale) {
  if (!(error > 1e-6 * Math.abs(value))) return writer(scale)(value);
  return `${writer(scale, error)(value)} ± ${Number(error.toPrecision(1))}`;
}

/** Similarities as text, with two decimals, or with the decimals that tell them apart; numbers of 10 and more have fewer. */
function writeSimilarities(values) {
  const digits = Math.floor(Math.log10(Math.max(1, ...values.map(Math.abs))));
  for (let decimals = Math.max(0, 2 - digits); decimals < 7; decimals++) {
    const texts = values.map((value) => value.toFixed(decimals).replace('-', '−'));
    if (new Set(texts).size === new Set(values).size) return texts;
  }
  return values.map((value) => value.toPrecision(2));
}

/** Colour of a credit as red, green, blue and opacity, from 0 to 255. Stronger credit is more opaque. */
function colourOf(value, scale, opacity, palette) {
  const strength = scale ? Math.max(-1, Math.min(1, value / scale)) : 0;
  const place = 3 * Math.min(255, Math.floor(128 * (strength + 1)));
  return [palette[place], palette[place + 1], palette[place + 2], 255 * opacity * Math.abs(strength) ** 0.7];
}

/** Indices of the largest absolute values, at most `count`, without zeros. */
function strongest(values, count) {
  const places = Array.from(values.keys()).filter((place) => values[place]);
  return places.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a])).slice(0, count);
}
