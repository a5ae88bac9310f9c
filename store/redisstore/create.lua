-- KEYS[1] entry; ARGV[1] value, ARGV[2] its expiry in Unix ms
local there = redis.call('GET', KEYS[1])
if not there then
  redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
  return 1
end
if there ~= ARGV[1] then
  return 0
end
local left = redis.call('PTTL', KEYS[1])
local now = redis.call('TIME')
if left >= 0 and ARGV[2] - (now[1] * 1000 + now[2] / 1000) > left then
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
return 1
