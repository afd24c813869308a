function spikeloop_frames(src, evt, host, port) %#ok<INUSL>
% Sends every frame of ScanImage to spikeloop over TCP, and never waits for it.
%
% Configuration > User Functions > add `spikeloop_frames` for the event frameAcquired.
% Arguments (optional): host, port. Give the host as an address: looking up a name would wait for a name server.
% Needs no toolbox: it uses the Java of MATLAB.
% ScanImage > Image Display > Rolling average must be 1, or what is sent is an average.
    if nargin < 3 || isempty(host), host = '127.0.0.1'; end
    if nargin < 4 || isempty(port), port = 5995; end
    persistent channel pending rest boot seq skipped nextTry
    if isempty(seq)
        seq = uint32(0); skipped = uint32(0); rest = []; nextTry = 0; channel = []; pending = [];
        boot = char(java.util.UUID.randomUUID().toString());
    end
    if nargin > 1 && isa(evt, 'event.EventData') && ~strcmp(evt.EventName, 'frameAcquired'), return; end
    try
        if isempty(channel) && isempty(pending) && now * 86400 > nextTry
            nextTry = now * 86400 + 1;                      % one attempt a second
            pending = java.nio.channels.SocketChannel.open();
            pending.configureBlocking(false);               % connect returns at once, and is finished at a later frame
            pending.connect(java.net.InetSocketAddress(host, port));
        end
        if ~isempty(pending) && pending.finishConnect()     % false while nobody has answered, an error if refused
            channel = pending; pending = []; rest = [];
        end
        if isempty(channel), skipped = skipped + 1; return; end
        rest = push(channel, rest);
        if ~isempty(rest), skipped = skipped + 1; return; end
        rest = push(channel, message(src.hSI, boot, seq, skipped));
        seq = seq + 1;
    catch
        hangUp(channel); hangUp(pending);                   % the other side has gone: try again later
        channel = []; pending = []; rest = []; skipped = skipped + 1;
    end
end

function hangUp(channel)
    if ~isempty(channel), channel.close(); end
end

function rest = push(channel, bytes)
% Send as much as goes without waiting; what is left.
    rest = bytes;
    if isempty(bytes), return; end
    buffer = java.nio.ByteBuffer.wrap(typecast(bytes, 'int8'));
    sent = channel.write(buffer);
    rest = bytes(sent + 1:end);
end

function bytes = message(hSI, boot, seq, skipped)
% Magic, lengths, MessagePack map, pixels column by column.
    display = hSI.hDisplay;
    channels = hSI.hChannels.channelsActive;
    pixels = uint8([]);
    for c = channels(:)'
        image = int16(display.lastFrame{c});
        pixels = [pixels; typecast(image(:), 'uint8')]; %#ok<AGROW>
    end
    first = display.lastFrame{channels(1)};
    [plane, nPlanes, nFlyback, volume, flyback] = place(hSI, double(display.lastFrameNumber));
    keys = {'boot','seq','frame','t_s','n_lines','n_pixels','channels','frame_rate_hz', ...
            'n_planes','n_flyback','plane','volume','flyback','skipped','mroi','zoom'};
    values = {text(boot), whole(seq), whole(display.lastFrameNumber), real(display.lastFrameTimestamp), ...
              whole(size(first, 1)), whole(size(first, 2)), list(channels), real(hSI.hRoiManager.scanFrameRate), ...
              whole(nPlanes), whole(nFlyback), whole(plane), volume, truth(flyback), whole(skipped), ...
              truth(hSI.hRoiManager.mroiEnable), real(hSI.hRoiManager.scanZoomFactor)};
    header = [uint8(222); uint8(0); uint8(numel(keys))];     % map 16, fewer than 256 keys
    for i = 1:numel(keys)
        header = [header; text(keys{i}); values{i}]; %#ok<AGROW>
    end
    bytes = [uint8('SLF1')'; typecast(uint32(numel(header)), 'uint8')'; typecast(uint32(numel(pixels)), 'uint8')'; ...
             header; pixels];
end

function [plane, nPlanes, nFlyback, volume, flyback] = place(hSI, frame)
% Where in a volume a frame lies; one plane where the focus stands still.
    plane = 0; nPlanes = 1; nFlyback = 0; volume = uint8(192); flyback = false;
    if ~hSI.hFastZ.enable, return; end
    nPlanes = double(hSI.hStackManager.numFramesPerVolume);
    nFlyback = double(hSI.hStackManager.numFramesPerVolumeWithFlyback) - nPlanes;
    inVolume = mod(frame - 1, nPlanes + nFlyback);
    flyback = inVolume >= nPlanes;
    plane = min(inVolume, nPlanes - 1);
    volume = whole(floor((frame - 1) / (nPlanes + nFlyback)));
end

function bytes = whole(n)
    bytes = [uint8(206); swapped(uint32(n))];                % uint 32, big endian
end

function bytes = real(x)
    bytes = [uint8(203); swapped(double(x))];                % float 64, big endian
end

function bytes = truth(yes)
    bytes = uint8(194 + double(logical(yes)));
end

function bytes = text(s)
    bytes = [uint8(217); uint8(numel(s)); uint8(s(:))];      % str 8
end

function bytes = list(numbers)
    bytes = uint8(144 + numel(numbers));                     % fixarray, fewer than 16
    for n = numbers(:)', bytes = [bytes; whole(n)]; end %#ok<AGROW>
end

function bytes = swapped(x)
    bytes = flipud(typecast(x, 'uint8')');
end
