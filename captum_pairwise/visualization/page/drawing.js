'use strict';
// Draws the page from the state, after every change.

const N_STRONGEST = 5;
const ROUNDING_ERROR = 1e-12;
const DIRECTION = { both: '', positive: ' that raise the similarity', negative: ' that lower the similarity' };

function draw() {
  const write = writer(scale());
  state.hint = null;
  panels.forEach((panel, side) => {
    const values = shownOn(side);
    panel.paint(values && Array.from(values, (value) => colourOf(value, scale(), state.opacity, palette)));
    panel.mark(marksOn(side), state.here?.side === side);
    drawSource(side);
    drawHere(side);
    drawStrongest(side, values);
  });
  drawPins(write);
  drawLegend(write);
  drawControls();
}

function drawMarks() {
  panels.forEach((panel, side) => panel.mark(marksOn(side), state.here?.side === side));
}

function drawSource(side) {
  const source = sourceOf(side);
  const text = order() === 'parts' ? `what each part adds${compareEnds(side)}` : source ? `pairs with ${nameOf(source)}${DIRECTION[state.sign]}` : '';
  find(`.side[data-side="${side}"] .source`).textContent = text;
  root.dataset[`source${side}`] = source ? `${source.side}:${source.index}` : '';
}

/** The similarity with this side, and with its baseline in its place. */
function compareEnds(side) {
  const { full, without } = method();
  if (full === null || without[side] === null) return '';
  const [present, absent] = writeSimilarities([full, without[side]]);
  return `: similarity ${present} with this ${kindOf(side)}, ${absent} without it`;
}

function drawHere(side) {
  const list = find(`.reading[data-side="${side}"] .here`), { here } = state;
  list.replaceChildren();
  if (here?.side !== side) return;
  const name = panels[side].name(here.index);
  facts(here).forEach(([what, value], k) => list.append(pair(k ? what : `${capital(name)}, ${what}`, value)));
}

/** Numbers of one part: what it adds, and its pairs with the pins of the other side. */
function facts(part) {
  const { credit, error } = method(), known = [], pairs = credit.pairs(part, 1 - part.side);
  if (credit.has('given_other')) {
    const value = withError(credit.parts(part.side)[part.index], error.parts(part.side)?.[part.index], credit.largest(['given_other']));
    known.push([`adds while the other ${kindOf(1 - part.side)} is whole`, value]);
  }
  for (const pin of state.pins.filter(({ side }) => pairs && side !== part.side)) {
    const value = withError(pairs[pin.index], error.pairs(part, 1 - part.side)?.[pin.index], credit.largest(['between']));
    known.push([`pair with pin ${pin.number}`, value]);
  }
  return known;
}

function drawStrongest(side, values) {
  const list = find(`.reading[data-side="${side}"] .strongest`), errors = errorsOn(side);
  list.replaceChildren();
  if (!values) return;
  for (const index of strongest(values, N_STRONGEST)) list.append(entry({ side, index }, values[index], errors?.[index]));
  if (!list.children.length) list.append(element('li', 'none', 'none of this sign'));
}

function entry(part, value, error) {
  const item = element('li', '', ''), bar = element('span', 'bar', '');
  bar.append(element('span', 'length', ''));
  bar.firstChild.style.width = `${(100 * Math.abs(value)) / scale()}%`;
  bar.firstChild.style.backgroundColor = `rgb(${colourOf(Math.sign(value) * 0.75, 1, 1, palette).slice(0, 3).join(' ')})`;
  item.append(element('span', 'name', panels[part.side].name(part.index)), bar, element('span', 'value', withError(value, error, scale())));
  item.addEventListener('pointerenter', () => hint(part));
  item.addEventListener('pointerleave', () => hint(null));
  return item;
}

function drawPins(write) {
  const list = find('.pins ul'), buttons = () => Array.from(list.querySelectorAll('button'));
  const focused = buttons().indexOf(document.activeElement);
  list.replaceChildren(...state.pins.map((pin) => chip(pin, write)));
  if (focused >= 0) buttons()[Math.min(focused, buttons().length - 1)]?.focus();
  find('.pins .clear').hidden = !state.pins.length;
}

function chip(pin, write) {
  const item = element('li', '', ''), number = element('span', 'number', pin.number), partner = partnerOf(pin);
  number.style.backgroundColor = colourOfPin(pin);
  number.style.color = inkOn(channels(colourOfPin(pin)));
  const show = button('show', '', () => choose(pin));
  show.append(number, element('span', '', nameOf(pin)));
  if (order() === 'pairs' && partner !== undefined) {
    const value = method().credit.pairs(pin, 1 - pin.side)[partner];
    show.append(element('span', 'partner', `→ ${panels[1 - pin.side].name(partner)}`), element('span', 'value', write(value)));
  }
  const remove = button('remove', '×', () => togglePin(pin));
  remove.setAttribute('aria-label', `Unpin ${pin.number}, ${nameOf(pin)}`);
  item.append(show, remove);
  return item;
}

function drawLegend(write) {
  const [least, , most] = find('.legend .ticks').children;
  drawScale(find('.legend canvas'), state.opacity, palette);
  least.textContent = write(-scale());
  most.textContent = write(scale());
  root.dataset.scale = scale();
  const what = order() === 'parts' ? 'value of a part' : state.within ? 'pair, within or between the two' : 'pair between the two';
  find('.legend figcaption').textContent = `similarity; full colour: the largest ${what}`;
  find('.relation').textContent = relation();
  find('.scale-rule').textContent =
    `Both sides share one scale. Its ends are the largest absolute ${what} by this method, for all parts, so that colours can be `
    + 'compared between parts. The choice of a sign sets the scale to the largest value of this sign.';
}

/** What the colours mean, and how the values of parts and of pairs are related. */
function relation() {
  const [hasParts, hasPairs] = ['given_other', 'between'].map((block) => method().credit.has(block));
  if (!hasParts) return `This method gives pairs of parts, but no value of a single part. ${method().index}`;
  const part = 'The value of a part is what it adds to the similarity while the other side is whole.';
  if (!hasPairs) return `${part} This method gives no pairs.`;
  return `${part} A pair is of one part of each side. The value of a part also counts what it adds on its own and together with other `
    + `parts of its side. So the pairs of a part need not sum to its value. ${method().index}`;
}

function drawControls() {
  const { credit } = method();
  const choices = { pairs: credit.has('between'), parts: credit.has('given_other') };
  for (const input of root.querySelectorAll('[name=order]')) {
    input.checked = input.value === order();
    input.disabled = !choices[input.value];
  }
  find('.within').hidden = !(order() === 'pairs' && (credit.hasWithin(0) || credit.hasWithin(1)));
}

/** The numbers behind the words; the badge opens them. */
function drawFacts() {
  const { full, without, gap, prediction } = method(), list = find('.facts');
  find('.prediction').textContent = prediction;
  list.replaceChildren();
  const ends = [['similarity', full], ['without the query', without[0]], ['without the retrieved', without[1]]].filter(([, value]) => value !== null);
  const texts = writeSimilarities(ends.map(([, value]) => value));
  ends.forEach(([what], k) => list.append(pair(what, texts[k])));
  if (gap !== null) list.append(pair('gap of the maps', writer(0.01)(Math.abs(gap) < ROUNDING_ERROR ? 0 : gap)));
}

function speak() {
  const { here } = state;
  if (!here) return;
  const known = facts(here).map(([what, value]) => `${what} ${value}`);
  const other = 1 - here.side, values = order() === 'pairs' ? shownOn(other) : null, write = writer(scale());
  const partners = values ? strongest(values, 3).map((index) => `${panels[other].name(index)} ${write(values[index])}`) : [];
  const pinned = state.pins.find((pin) => same(pin, here));
  const sentences = [`${capital(nameOf(here))}${pinned ? `, pin ${pinned.number}` : ''}`, known.join(', ')];
  if (partners.length) sentences.push(`strongest in the ${NAMES[other]}: ${partners.join(', ')}`);
  find('.spoken').textContent = sentences.filter(Boolean).join('; ');
}
