-- Finds entries by their idle time in a bounded window of the pending list. It needs no IDLE option, which Redis 6.0
-- does not have.
--
-- KEYS[1]  the stream                <stream>
--
-- ARGV[1]  the group
-- ARGV[2]  the ID to start at, or -
-- ARGV[3]  how many entries to look at
-- ARGV[4]  how many entries are wanted
-- ARGV[5]  the least idle time, ms
-- ARGV[6]  the idle time that is too long, ms; -1: none is
-- ARGV[7]  a consumer, to look at its entries only; may be left out
--
-- Returns {rows as XPENDING gives them, the last ID looked at or nil, 1 if the list ends there, else 0}.

local call = {'XPENDING', KEYS[1], ARGV[1], ARGV[2], '+', ARGV[3], ARGV[7]}
local wanted, least, below = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local rows = redis.call(unpack(call))
local found, last = {}, false
for _, row in ipairs(rows) do
  last = row[1]
  local idle = row[3]
  if (idle >= least or idle < 0) and (below < 0 or idle < below) then
    found[#found + 1] = row
    if #found == wanted then return {found, last, 0} end
  end
end
return {found, last, #rows < tonumber(ARGV[3]) and 1 or 0}
