-- KEYS[1] bucket; ARGV[1] tokens regained each second, ARGV[2] size of the bucket
-- A bucket is its tokens and when it had them, two doubles; one that is full has no key.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local tokens, at = burst, now
local bucket = redis.call('GET', KEYS[1])
if bucket then
  tokens, at = struct.unpack('<dd', bucket)
end
local have = tokens
if now > at then
  have = tokens + (now - at) * rate / 1000000
end
have = math.min(have, burst)
local allowed = have >= 1
if allowed then
  have = have - 1
end
-- A refusal writes nothing, unless the clock has stepped back and the bucket would
-- stand still until it is there again.
if allowed or now < at then
  tokens, at = have, now
  local full = math.ceil((burst - have) / rate * 1000)
  redis.call('SET', KEYS[1], struct.pack('<dd', tokens, at), 'PX', math.min(full + 100, 3153600000000))
end
return struct.pack('<bddd', allowed and 1 or 0, tokens, at, now)
