-- KEYS[1] entry; ARGV[1] value that is replaced, ARGV[2] new one, ARGV[3] its expiry in Unix ms
local there = redis.call('GET', KEYS[1])
if not there then
  return 0
end
if there == ARGV[2] then
  local left = redis.call('PTTL', KEYS[1])
  local now = redis.call('TIME')
  if left >= 0 and ARGV[3] - (now[1] * 1000 + now[2] / 1000) > left then
    redis.call('PEXPIREAT', KEYS[1], ARGV[3])
  end
  return 1
end
if there ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1
