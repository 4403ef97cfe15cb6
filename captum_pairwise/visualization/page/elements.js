'use strict';
// Elements of the page, and small helpers for text.

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
