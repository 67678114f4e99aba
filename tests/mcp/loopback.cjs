// Loaded before a server of the tests: whatever port it listens to is one of this machine alone.
const { Server } = require('node:net');
const listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {
  if (typeof port === 'object') return listen.call(this, { ...port, host: '127.0.0.1' }, ...rest);
  const ready = rest.find((word) => typeof word === 'function');
  return listen.call(this, { port: Number(port), host: '127.0.0.1' }, ready);
};
