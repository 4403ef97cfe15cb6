'use strict';
// Draws the page from the state, after every change.

const N_STRONGEST = 5;
const ROUNDING_ERROR = 1e-12;

function draw() {
  const write = writer(scale());
  state.hint = null;
  panels.forEach((panel, side) => {
    const values = shownOn(side);
    panel.paint(values && Array.from(values, (value) => colourOf(value, scale(), state.opacity, palette)));
    panel.mark(marksOn(side), state.here?.side === side);
    drawSource(side);
    drawHere(side);
    drawStrongest(side, values, write);
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
  const text = order() === 'parts' ? 'credit of each part' : source ? `pairs with ${nameOf(source)}` : '';
  find(`.side[data-side="${side}"] .source`).textContent = text;
  root.dataset[`source${side}`] = source ? `${source.side}:${source.index}` : '';
}

function drawHere(side) {
  const list = find(`.reading[data-side="${side}"] .here`), { here } = state;
  list.replaceChildren();
  if (here?.side !== side) return;
  const name = panels[side].name(here.index);
  facts(here).forEach(([what, value], k) => list.append(pair(k ? what : `${capital(name)}, ${what}`, value)));
}

/** Numbers of one part: its credit, the sum of its pairs, and its pairs with the pins of the other side. */
function facts(part) {
  const { credit, error } = method(), known = [], pairs = credit.pairs(part, 1 - part.side);
  if (credit.has('marginal')) {
    const write = writer(credit.largest(['marginal']));
    known.push(['credit', withError(credit.parts(part.side)[part.index], error.parts(part.side)?.[part.index], write)]);
  }
  if (!pairs) return known;
  const write = writer(credit.largest(['between']));
  known.push([`sum of its pairs with the ${NAMES[1 - part.side]}`, write(pairs.reduce((sum, value) => sum + value, 0))]);
  for (const pin of state.pins.filter(({ side }) => side !== part.side)) {
    known.push([`pair with pin ${pin.number}`, withError(pairs[pin.index], error.pairs(part, 1 - part.side)?.[pin.index], write)]);
  }
  return known;
}

function drawStrongest(side, values, write) {
  const list = find(`.reading[data-side="${side}"] .strongest`), errors = errorsOn(side);
  list.replaceChildren();
  if (!values) return;
  for (const index of strongest(values, N_STRONGEST)) list.append(entry({ side, index }, values[index], errors?.[index], write));
  if (!list.children.length) list.append(element('li', 'none', 'none of this sign'));
}

function entry(part, value, error, write) {
  const item = element('li', '', ''), bar = element('span', 'bar', '');
  bar.append(element('span', 'length', ''));
  bar.firstChild.style.width = `${(100 * Math.abs(value)) / scale()}%`;
  bar.firstChild.style.backgroundColor = `rgb(${colourOf(Math.sign(value) * 0.75, 1, 1, palette).slice(0, 3).join(' ')})`;
  item.append(element('span', 'name', panels[part.side].name(part.index)), bar, element('span', 'value', withError(value, error, write)));
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
  const canvas = find('.legend canvas'), image = new ImageData(256, 1), [least, , most] = find('.legend .ticks').children;
  for (let k = 0; k < 256; k++) image.data.set([...blendWithWhite(colourOf(k / 127.5 - 1, 1, state.opacity, palette)), 255], 4 * k);
  canvas.getContext('2d').putImageData(image, 0, 0);
  least.textContent = write(-scale());
  most.textContent = write(scale());
  root.dataset.scale = scale();
  const what = order() === 'parts' ? 'credit of a part' : state.within ? 'pair, within or between the images' : 'pair between the images';
  find('.legend figcaption').textContent = `full colour: the largest ${what}`;
  find('.scale-rule').textContent =
    `Both images share one scale. Its ends are the largest absolute ${what} by this method, for all parts, so that colours can be `
    + 'compared between parts. The choice of a sign does not change the scale.';
}

function drawControls() {
  const { credit } = method();
  const choices = { pairs: credit.has('between'), parts: credit.has('marginal') };
  for (const input of root.querySelectorAll('[name=order]')) {
    input.checked = input.value === order();
    input.disabled = !choices[input.value];
  }
  find('.within').hidden = !(order() === 'pairs' && (credit.hasWithin(0) || credit.hasWithin(1)));
}

function drawFacts() {
  const { full, empty, gap } = method(), known = (value) => value !== null && value !== undefined, list = find('.facts');
  list.replaceChildren();
  const write = writer(Math.min(1, Math.max(Math.abs(full ?? 0), Math.abs(empty ?? 0))) / 50), plain = (value) => write(value).replace('+', '');
  if (known(full)) list.append(pair('similarity', plain(full)));
  if (known(empty)) list.append(pair('of the baselines', plain(empty)));
  if (known(gap)) list.append(pair('completeness gap', writer(0.01)(Math.abs(gap) < ROUNDING_ERROR ? 0 : gap)));
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

// elements

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function pair(what, value) {
  const group = element('div', '', '');
  group.append(element('dt', '', what), element('dd', '', value));
  return group;
}

function button(className, text, act) {
  const made = element('button', className, text);
  made.type = 'button';
  made.addEventListener('click', act);
  return made;
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}
