'use strict';
// The state, and the values that follow from it: the credits that each side shows, and the marked parts.

const data = JSON.parse(document.getElementById('data').textContent);
const root = document.getElementById('viewer');
const find = (selector) => root.querySelector(selector);
const NAMES = ['query', 'retrieved'];

const palette = bytesOf(data.palette);
const panels = data.sides.map((side, k) => {
  const element = find(`.side[data-side="${k}"] .plate`);
  return side.tokens ? new SentencePanel(element, side.tokens) : new PhotoPanel(element, side.width / side.height);
});
const methods = data.methods.map((method) => {
  const counts = method.parts.map(({ n }) => n);
  return { ...method, credit: new Credits(method.credit, counts), error: new Credits(method.error, counts) };
});

// A part is { side, index }. `here` is the part under the pointer or the keyboard. A pin is a part with a number; `turn` counts selections.
const state = { method: 0, order: 'pairs', sign: 'both', opacity: 0.8, within: false, here: null, hint: null, pins: [], turn: 0 };
const cursor = [null, null]; // for each side, the last part that was `here`

const same = (a, b) => a !== null && b !== null && a.side === b.side && a.index === b.index;
const method = () => methods[state.method];
const kindOf = (side) => data.sides[side].noun;
const nameOf = (part) => `${NAMES[part.side]} ${panels[part.side].name(part.index)}`;
const latest = (pins) => pins.reduce((best, pin) => (best && best.turn > pin.turn ? best : pin), null);

function order() {
  if (!method().credit.has('between')) return 'parts';
  return method().credit.has('given_other') ? state.order : 'pairs';
}

function withinIsShown(side) {
  return state.within && method().credit.hasWithin(side);
}

/** The part whose pairs a side shows: a part of the other side, or of the same side if pairs within an image are on; null in first order. */
function sourceOf(side) {
  if (order() === 'parts') return null;
  const { here } = state;
  if (here && (here.side !== side || withinIsShown(side))) return here;
  const pins = state.pins.filter((pin) => pin.side !== side || (!here && withinIsShown(side)));
  return latest(pins);
}

/** Credits that a side shows, with 0 for the hidden sign; null for the photo without colours. */
function shownOn(side) {
  const source = sourceOf(side);
  if (order() === 'pairs' && !source) return null;
  const values = source ? method().credit.pairs(source, side) : method().credit.parts(side);
  return values && values.map((value) => (hasSign(value, state.sign) ? value : 0));
}

function errorsOn(side) {
  const source = sourceOf(side);
  return source ? method().error.pairs(source, side) : method().error.parts(side);
}

/** Credit with the full colour: the largest credit of the chosen sign that this view can show. */
function scale() {
  const within = state.within ? ['within_query', 'within_retrieved'] : [];
  return method().credit.largest(order() === 'parts' ? ['given_other'] : ['between', ...within], state.sign);
}

function colourOfPin(pin) {
  return data.pinColours[(pin.number - 1) % data.pinColours.length];
}

function partnerOf(pin) {
  const values = method().credit.pairs(pin, 1 - pin.side);
  const [index] = values ? strongest(values.map((value) => (hasSign(value, state.sign) ? value : 0)), 1) : [];
  return index;
}

function marksOn(side) {
  const marks = [];
  for (const pin of state.pins) {
    const look = { colour: colourOfPin(pin), label: String(pin.number) };
    if (pin.side === side) marks.push({ ...look, index: pin.index, width: same(pin, state.here) ? 4.5 : 3 });
    else if (order() === 'pairs' && partnerOf(pin) !== undefined) marks.push({ ...look, index: partnerOf(pin), dashed: true });
  }
  if (state.hint?.side === side) marks.push({ index: state.hint.index });
  if (state.here?.side === side && !state.pins.some((pin) => same(pin, state.here))) marks.push({ index: state.here.index });
  return marks;
}
