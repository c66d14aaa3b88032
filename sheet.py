import sys,glob
from PIL import Image
f=sorted(glob.glob('/opt/w/tmp-place/pg/p-*.png')); ims=[Image.open(x) for x in f]; w,h=ims[0].size
for k in range(0,len(ims),14):
    S=Image.new('RGB',(w*7,h*2),'white')
    for i,im in enumerate(ims[k:k+14]): S.paste(im,((i%7)*w,(i//7)*h))
    S.save(f'/opt/w/tmp-place/sheet{k//14}.png')
