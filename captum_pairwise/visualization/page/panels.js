'use strict';
// Two kinds of panels: a photo with its parts, and a sentence with its words. Both paint credits and mark parts.

const MOST_OUTLINED = 1000; // parts
const MARGIN = 6; // CSS pixels that marks may extend beyond the edge of a photo
const INK = '#111', PAPER = '#fff';

class PhotoPanel {
  constructor(element, ratio) {
    this.element = element;
    [this.heat, this.marks] = element.querySelectorAll('canvas');
    element.style.setProperty('--ratio', ratio);
  }

  place(spec) {
    this.raster = new Raster(spec);
    this.middles = this.raster.middles;
  }

  step(index, key) {
    return findNeighbour(this.middles, index, key);
  }

  name(index) {
    if (this.raster.names) return this.raster.names[index];
    if (!this.raster.isGrid) return `part ${index}`;
    return `cell (${Math.floor(index / this.raster.width)}, ${index % this.raster.width})`;
  }

  partAt(event) {
    const box = this.heat.getBoundingClientRect();
    return this.raster.at((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  /** Draw a colour for each part over the photo in grey; null shows the photo without colours. */
  paint(colours) {
    this.element.classList.toggle('painted', Boolean(colours));
    const context = fitCanvas(this.heat);
    if (!colours) return;
    context.imageSmoothingEnabled = this.raster.width > 64 || this.raster.height > 64;
    context.drawImage(this.picture(colours), 0, 0, this.heat.width, this.heat.height);
  }

  picture(colours) {
    const { width, height, owners } = this.raster, image = new ImageData(width, height);
    owners.forEach((owner, cell) => owner !== NOBODY && image.data.set(colours[owner], 4 * cell));
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width, height });
    canvas.getContext('2d').putImageData(image, 0, 0);
    return canvas;
  }

  /** Draw outlines and numbers; `withGrid` also draws the borders of all parts. */
  mark(marks, withGrid) {
    const context = fitCanvas(this.marks), dots = window.devicePixelRatio || 1;
    context.setTransform(dots, 0, 0, dots, MARGIN * dots, MARGIN * dots);
    context.lineJoin = 'round';
    if (withGrid) this.drawGrid(context);
    marks.forEach((mark) => this.drawMark(context, mark));
    marks.forEach((mark) => mark.label && this.drawLabel(context, mark));
  }

  size() {
    return [this.element.clientWidth, this.element.clientHeight];
  }

  /** Path in CSS pixels from a path in cells of the raster. */
  scaled(path) {
    const [width, height] = this.size(), larger = new Path2D();
    larger.addPath(path, new DOMMatrix([width / this.raster.width, 0, 0, height / this.raster.height, 0, 0]));
    return larger;
  }

  drawGrid(context) {
    context.lineWidth = 1;
    context.strokeStyle = 'rgb(255 255 255 / 0.3)';
    if (this.raster.n <= MOST_OUTLINED) context.stroke(this.scaled(buildGrid(this.raster)));
  }

  drawMark(context, { index, colour = INK, dashed = false, width = 2 }) {
    const path = this.scaled(this.raster.outline(index));
    stroke(context, path, PAPER, width + 2, []);
    stroke(context, path, colour, width, dashed ? [7, 4] : []);
  }

  drawLabel(context, { index, colour, label, dashed }) {
    const middle = this.middles[index], [width, height] = this.size();
    if (!middle) return;
    const [x, y] = [middle.x * width, middle.y * height], disc = new Path2D();
    disc.arc(x, y, 10, 0, 2 * Math.PI);
    context.fillStyle = dashed ? PAPER : colour;
    context.fill(disc);
    stroke(context, disc, dashed ? colour : PAPER, 2, []);
    context.fillStyle = dashed ? INK : inkOn(channels(colour));
    context.font = '600 12px system-ui, sans-serif';
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(label, x, y + 0.5);
  }
}

/** Clear a canvas and give it one pixel for each pixel of the screen. */
function fitCanvas(canvas) {
  const dots = window.devicePixelRatio || 1, { clientWidth, clientHeight } = canvas;
  Object.assign(canvas, { width: Math.round(clientWidth * dots), height: Math.round(clientHeight * dots) });
  return canvas.getContext('2d');
}

function stroke(context, path, colour, width, dash) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dash);
  context.stroke(path);
}

/** Black or white, the one with the larger contrast to a colour: at least 4.58 by WCAG's measure. */
function inkOn(colour) {
  const [red, green, blue] = colour.map((value) => (value <= 10 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? '#000' : '#fff';
}

/** Red, green and blue of a colour `#rrggbb`. */
function channels(colour) {
  return [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
}

class SentencePanel {
  constructor(element, tokens) {
    this.element = element;
    this.tokens = tokens;
    this.words = tokens.map((token, index) => {
      const word = element.appendChild(document.createElement('span'));
      word.className = 'word';
      word.dataset.index = index;
      word.textContent = token;
      element.append(' ');
      return word;
    });
  }

  place() {}

  name(index) {
    return `“${this.tokens[index]}”`;
  }

  /** Previous or next word, or the nearest word in the line above or below. */
  step(index, key) {
    const aside = DIRECTIONS[key][0];
    if (aside) return Math.max(0, Math.min(this.words.length - 1, index + aside));
    const middles = this.words.map((word) => ({ x: word.offsetLeft + word.offsetWidth / 2, y: 9 * word.offsetTop }));
    return findNeighbour(middles, index, key);
  }

  partAt(event) {
    const word = event.target.closest('.word');
    return word ? Number(word.dataset.index) : NOBODY;
  }

  paint(colours) {
    this.element.classList.toggle('painted', Boolean(colours));
    this.words.forEach((word, index) => {
      const colour = colours && blendWithWhite(colours[index]);
      word.style.backgroundColor = colour ? `rgb(${colour.join(' ')})` : '';
      word.style.color = colour ? inkOn(colour) : '';
    });
  }

  mark(marks) {
    for (const word of this.words) {
      word.style.removeProperty('--mark');
      word.style.removeProperty('--label');
      word.classList.remove('marked', 'dashed');
      delete word.dataset.label;
    }
    for (const { index, colour = INK, label, dashed = false } of marks) {
      const word = this.words[index];
      word.style.setProperty('--mark', colour);
      word.classList.add('marked');
      word.classList.toggle('dashed', dashed);
      if (!label) continue;
      word.dataset.label = label;
      word.style.setProperty('--label', colour);
    }
  }
}

/** Colour with opacity, blended with white. */
function blendWithWhite([red, green, blue, opacity]) {
  return [red, green, blue].map((value) => Math.round(255 + ((value - 255) * opacity) / 255));
}
